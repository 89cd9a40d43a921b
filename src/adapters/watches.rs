//! The streams that a container source hands out, and the tasks behind them. The adapters that are sources share it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use domain::container::ContainerEvent;
use futures_core::Stream;
use ports::container_source::ContainerEvents;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// The streams of one source that still live, each by what its task hears requests through.
pub(super) struct Watches<R>(Mutex<Vec<Weak<R>>>);

impl<R> Default for Watches<R> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<R> Watches<R> {
    /// A stream of what `task` sends into it, with so much room for what waits. When the stream is dropped, the task ends.
    ///
    /// Must be called within a tokio runtime.
    pub(super) fn start<F>(
        &self,
        room: usize,
        requests: Arc<R>,
        task: impl FnOnce(Arc<R>, mpsc::Sender<ContainerEvent>) -> F,
    ) -> ContainerEvents
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (out, items) = mpsc::channel(room);
        let mut watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|watch| watch.strong_count() > 0);
        watches.push(Arc::downgrade(&requests));
        Box::pin(Watch { items, _task: AbortOnDropHandle::new(tokio::spawn(task(requests, out))) })
    }

    /// Asks every stream that still lives.
    pub(super) fn ask(&self, ask: impl Fn(&R)) {
        let watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watches.iter().filter_map(Weak::upgrade).for_each(|requests| ask(&requests));
    }
}

/// The stream, and the task behind it that ends with it.
struct Watch {
    items: mpsc::Receiver<ContainerEvent>,
    _task: AbortOnDropHandle<()>,
}

impl Stream for Watch {
    type Item = ContainerEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.items.poll_recv(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    /// How long the end of a task is waited for.
    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_task_is_asked_while_its_stream_lives_and_ends_with_it() {
        let (watches, mine) = (Watches::<AtomicUsize>::default(), Arc::default());
        let never_ending = |requests: Arc<AtomicUsize>, _out| async move {
            std::future::pending::<()>().await;
            drop(requests);
        };
        let stream = watches.start(1, Arc::clone(&mine), never_ending);
        watches.ask(|asked| _ = asked.fetch_add(1, Ordering::Relaxed));
        assert_eq!(mine.load(Ordering::Relaxed), 1);
        assert_eq!(Arc::strong_count(&mine), 2, "the task has it as well");

        drop(stream);
        let ended = async {
            while Arc::strong_count(&mine) > 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.unwrap();
    }
}
