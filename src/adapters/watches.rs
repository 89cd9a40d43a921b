//! The streams that a container source hands out, and the tasks behind them. The adapters that are sources share it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::domain::container::ContainerEvent;
use crate::ports::container_source::ContainerEvents;

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
