//! Channels that meet each request in one way.

use std::future::{pending, ready};
use std::sync::{Mutex, PoisonError};

use http::Response;
use ports::upstream::{BoxBody, RequestSlot, SendError, SendFailure, Sent, UpstreamResponse};

use super::mocks::{MockChannel, SendFuture};

/// A channel that meets requests so.
pub fn meeting(send: impl Fn(&RequestSlot) -> SendFuture + Send + 'static) -> MockChannel {
    let mut channel = MockChannel::new();
    channel.expect_sent().returning(send);
    channel.expect_retired().return_const(());
    channel
}

/// A channel to which no connection is taken.
pub fn refusing() -> MockChannel {
    meeting(|_| fails(Sent::NotSent, SendFailure::ConnectionRefused))
}

/// A channel that has as many connections as it may have.
pub fn full() -> MockChannel {
    meeting(|_| fails(Sent::NotSent, SendFailure::TooManyConnections(1)))
}

/// A channel whose connections are never there.
pub fn connecting() -> MockChannel {
    meeting(|_| Box::pin(pending()))
}

/// A channel that takes the request and breaks before a response.
pub fn breaking() -> MockChannel {
    meeting(|slot| {
        drop(slot.take());
        fails(Sent::MaybeSent, SendFailure::Broken("reset".to_owned()))
    })
}

/// A channel that takes the request and never responds.
pub fn silent() -> MockChannel {
    meeting(|slot| {
        drop(slot.take());
        Box::pin(pending())
    })
}

/// A channel that takes each request and responds with the body that is made for it.
pub fn responding(body: impl Fn() -> BoxBody + Send + 'static) -> MockChannel {
    meeting(move |slot| {
        drop(slot.take());
        Box::pin(ready(Ok(UpstreamResponse::Response(Response::new(body())))))
    })
}

/// A channel that responds to its one request with this body.
pub fn responding_once(body: BoxBody) -> MockChannel {
    let body = Mutex::new(Some(body));
    meeting(move |slot| {
        let Some(body) = body.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return fails(Sent::NotSent, SendFailure::ConnectionRefused);
        };
        drop(slot.take());
        Box::pin(ready(Ok(UpstreamResponse::Response(Response::new(body)))))
    })
}

fn fails(sent: Sent, failure: SendFailure) -> SendFuture {
    Box::pin(ready(Err(SendError { sent, failure })))
}
