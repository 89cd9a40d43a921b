//! One request on one connection, up to the head of the answer.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Waker};

use http::Response;
use hyper::body::Incoming;
use ports::upstream::{BoxRequest, SendFailure};
use tokio::task::coop::has_budget_remaining;

use super::connection::Progress;
use super::failure::send_failure;
use super::pool::PooledConn;
use crate::adapters::shared::conn_waker::suppress_self_wake;

/// How a request ended that got no answer.
pub(super) enum NoResponse {
    /// The connection had ended before a byte was written: the request is whole and its body was not touched.
    Unused(BoxRequest, SendFailure),
    /// The backend may have read some of it.
    Failed(SendFailure),
}

/// Sends a request and waits for the head of its answer. The connection is driven by this future alone.
///
/// # Errors
/// [`NoResponse`]; the connection is of no more use then.
pub(super) async fn carry(conn: &mut PooledConn, request: BoxRequest) -> Result<Response<Incoming>, NoResponse> {
    let Some(link) = conn.link() else {
        return Err(NoResponse::Unused(request, SendFailure::Broken("no connection".into())));
    };
    link.wire.check_liveness();
    let mut answer = pin!(suppress_self_wake(|| link.sender.try_send_request(*request)).0);
    let mut begun = false;
    let answered = poll_fn(|cx| {
        // A connection that was never driven has nothing that could ring.
        let driven = if std::mem::replace(&mut begun, true) { link.drive(cx) } else { link.push(cx) };
        let ended = driven == Progress::Closed;
        // Only driving the connection can bring the answer, and that was just done: no need to be woken for it.
        let mut unheard = Context::from_waker(Waker::noop());
        let mut polled = answer.as_mut().poll(&mut unheard);
        if polled.is_pending() && ended {
            // A request that still waits in the connection comes back when that is gone.
            link.close();
            polled = answer.as_mut().poll(&mut unheard);
        }
        if polled.is_pending() && !has_budget_remaining() {
            // The task has used up its turn: the answer may be there and not be given out, and the waker that is to be
            // woken for that is the one above. It is so where the connection has ended as well.
            cx.waker().wake_by_ref();
        }
        polled
    })
    .await;
    answered.map_err(|mut refused| match refused.take_message() {
        Some(request) if link.wire.has_unsolicited_data() => {
            NoResponse::Unused(Box::new(request), SendFailure::InvalidResponse("it spoke before it was asked".into()))
        }
        Some(request) => NoResponse::Unused(Box::new(request), SendFailure::Broken("the backend closed it".into())),
        None => NoResponse::Failed(send_failure(refused.error())),
    })
}
