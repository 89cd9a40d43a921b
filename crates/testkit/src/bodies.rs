//! Bodies of requests and responses.

use bytes::Bytes;
use futures_util::StreamExt;
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use ports::upstream::{BodyError, BoxBody};
use tokio::sync::mpsc;

/// A body of this text.
pub fn text(text: &'static str) -> BoxBody {
    Box::pin(Full::new(Bytes::from_static(text.as_bytes())).map_err(|never| match never {}))
}

/// A body that consists of what comes through the sender, and ends when the sender is dropped.
pub fn written() -> (mpsc::UnboundedSender<Result<&'static str, BodyError>>, BoxBody) {
    let (sender, mut receiver) = mpsc::unbounded_channel::<Result<&'static str, BodyError>>();
    let frames = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    let frames = frames.map(|piece| piece.map(|text| Frame::data(Bytes::from_static(text.as_bytes()))));
    (sender, Box::pin(StreamBody::new(frames)))
}
