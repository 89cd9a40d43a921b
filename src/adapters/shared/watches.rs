//! The streams that a container source returns, and the tasks behind them.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use domain::container::ContainerEvent;
use futures_core::Stream;
use ports::container_source::ContainerEvents;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// The live streams of one source, each by the queue of requests that its task reads.
pub(crate) struct Watches<R>(Mutex<Vec<Weak<R>>>);

impl<R> Default for Watches<R> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<R> Watches<R> {
    /// Starts `task` and returns the stream of its events. Dropping the stream aborts the task.
    ///
    /// Must be called within a tokio runtime.
    pub(crate) fn start<F>(
        &self,
        capacity: usize,
        requests: Arc<R>,
        task: impl FnOnce(Arc<R>, mpsc::Sender<ContainerEvent>) -> F,
    ) -> ContainerEvents
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (out, items) = mpsc::channel(capacity);
        let mut watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|watch| watch.strong_count() > 0);
        watches.push(Arc::downgrade(&requests));
        Box::pin(Watch { items, _task: AbortOnDropHandle::new(tokio::spawn(task(requests, out))) })
    }

    /// Calls `request` with the queue of every live stream.
    pub(crate) fn request(&self, request: impl Fn(&R)) {
        let watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watches.iter().filter_map(Weak::upgrade).for_each(|requests| request(&requests));
    }
}

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

    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn requests_reach_a_task_while_its_stream_lives_and_it_ends_with_the_stream() {
        let (watches, mine) = (Watches::<AtomicUsize>::default(), Arc::default());
        let never_ending = |requests: Arc<AtomicUsize>, _out| async move {
            std::future::pending::<()>().await;
            drop(requests);
        };
        let stream = watches.start(1, Arc::clone(&mine), never_ending);
        watches.request(|count| _ = count.fetch_add(1, Ordering::Relaxed));
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
