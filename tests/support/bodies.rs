//! Request bodies for tests, and reading answers.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};
use ports::upstream::{BodyError, BoxBody};
use tokio::sync::mpsc;

use super::raw_backend::soon;

/// A body of nothing.
pub fn empty() -> BoxBody {
    Box::pin(Empty::new().map_err(|never| match never {}))
}

/// A body of known length.
pub fn full(bytes: impl Into<Bytes>) -> BoxBody {
    Box::pin(Full::new(bytes.into()).map_err(|never| match never {}))
}

/// A body of these frames, of a length that nobody knows before.
pub fn frames(frames: impl IntoIterator<Item = Result<Frame<Bytes>, BodyError>>) -> BoxBody {
    Box::pin(Frames(frames.into_iter().collect()))
}

struct Frames(VecDeque<Result<Frame<Bytes>, BodyError>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.0.pop_front())
    }
}

/// A body that a test writes bit by bit. It ends when the sender goes.
pub fn channel() -> (mpsc::Sender<Result<Bytes, BodyError>>, BoxBody) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Box::pin(Written(receiver)))
}

struct Written(mpsc::Receiver<Result<Bytes, BodyError>>);

impl Body for Written {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| bytes.map(Frame::data)))
    }
}

/// How many bytes were taken out of an endless body.
#[derive(Clone, Default)]
pub struct Taken(Arc<AtomicUsize>);

impl Taken {
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A body that never ends, in frames of 16 KiB.
pub fn endless() -> (Taken, BoxBody) {
    let taken = Taken::default();
    (taken.clone(), Box::pin(Endless(taken)))
}

struct Endless(Taken);

impl Body for Endless {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        static BLOCK: [u8; 16 * 1024] = [b'x'; 16 * 1024];
        self.0.0.fetch_add(BLOCK.len(), Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&BLOCK)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// A GET without a body.
pub fn get(path: &str) -> Request<BoxBody> {
    Request::get(path).header("host", "backend").body(empty()).unwrap()
}

/// A POST with a body of known length.
pub fn post(path: &str, body: &'static str) -> Request<BoxBody> {
    Request::post(path).header("host", "backend").header("content-length", body.len()).body(full(body)).unwrap()
}

/// What a body brought: its bytes, its trailers, and the error that it ended with.
pub struct Read {
    pub bytes: Vec<u8>,
    pub trailers: Option<HeaderMap>,
    pub error: Option<BodyError>,
}

impl Read {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }
}

/// Reads a body to its end.
pub async fn read(mut body: BoxBody) -> Read {
    let mut read = Read { bytes: Vec::new(), trailers: None, error: None };
    while let Some(frame) = soon("a frame", body.frame()).await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => read.bytes.extend_from_slice(&data),
            Ok(Err(frame)) => read.trailers = frame.into_trailers().ok(),
            Err(error) => {
                read.error = Some(error);
                break;
            }
        }
    }
    read
}

/// Reads a complete answer.
pub async fn text(answer: Response<BoxBody>) -> String {
    let read = read(answer.into_body()).await;
    assert_eq!(read.error, None);
    read.text().to_owned()
}
