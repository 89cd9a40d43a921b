//! The channel to one registration of a backend: a request in, an answer out.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use http::header::HeaderValue;
use http::{Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use ports::upstream::{BoxBody, BoxRequest, Channel, RequestSlot, SendError, SendFailure, Sent, UpstreamResponse};

use super::body::{UpstreamBody, settle};
use super::connection::Progress;
use super::exchange::{NoResponse, carry};
use super::failure::send_failure;
use super::framing::{self, Ending};
use super::pool::{Pool, PooledConn};
use super::probation::ResponseKind;
use super::tunnel::Tunnel;

/// How often a request that waits on a new connection looks whether idle ones are in its way.
const MAKE_WAY_EVERY: Duration = Duration::from_millis(100);

/// Connections to one backend, on hyper's HTTP/1 client.
pub(super) struct HttpChannel {
    pool: Arc<Pool>,
}

impl HttpChannel {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool: Arc::new(pool) }
    }

    /// The same as [`carry`], on a new connection. A server of one thread reads it only when the connection before it is
    /// closed, so idle ones make way.
    async fn carry_on_new(&self, conn: &mut PooledConn, request: BoxRequest) -> Result<Response<Incoming>, NoResponse> {
        let mut carried = pin!(carry(conn, request));
        loop {
            match tokio::time::timeout(MAKE_WAY_EVERY, &mut carried).await {
                Ok(carried) => return carried,
                Err(_) => self.pool.make_way(),
            }
        }
    }
}

#[async_trait]
impl Channel for HttpChannel {
    async fn send(&self, slot: &RequestSlot) -> Result<UpstreamResponse, SendError> {
        let settled = slot.with(|request| framing::settle_request(request));
        let asked = match settled.transpose() {
            Ok(asked) => asked.flatten(),
            Err(error) => return Err(not_sent(SendFailure::RequestBody(error))),
        };
        loop {
            let mut conn = match self.pool.take() {
                Some(conn) => conn,
                // Rare, and larger than all else here.
                None => match Box::pin(self.pool.connect()).await {
                    Ok(conn) => conn,
                    Err(failure) => return Err(not_sent(failure)),
                },
            };
            let Some(request) = slot.take() else {
                return Err(maybe_sent(SendFailure::Broken("there was no request in the slot".into())));
            };
            let carried = match conn.is_used() {
                true => carry(&mut conn, request).await,
                false => Box::pin(self.carry_on_new(&mut conn, request)).await,
            };
            match carried {
                Ok(answer) => return receive(answer, conn, asked).await,
                // It was closed while it was idle. Ends at the latest when no idle one is left.
                Err(NoResponse::Unused(whole, _)) if conn.is_used() => {
                    conn.was_closed();
                    slot.put_back(whole);
                }
                Err(NoResponse::Unused(whole, failure)) => {
                    slot.put_back(whole);
                    return Err(not_sent(failure));
                }
                Err(NoResponse::Failed(failure)) => {
                    if matches!(failure, SendFailure::Broken(_)) {
                        conn.was_closed();
                    }
                    return Err(maybe_sent(failure));
                }
            }
        }
    }

    fn retire(&self) {
        self.pool.retire();
    }
}

impl Drop for HttpChannel {
    fn drop(&mut self) {
        self.pool.retire();
    }
}

/// Checks the head of an answer, and makes its body the one that drives the connection from now on.
async fn receive(
    answer: Response<Incoming>,
    mut conn: PooledConn,
    asked: Option<HeaderValue>,
) -> Result<UpstreamResponse, SendError> {
    let (mut head, incoming) = answer.into_parts();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Box::pin(switch(head, conn, asked)).await;
    }
    let (ending, reuse) = framing::check_response(head.version, &mut head.headers).map_err(invalid)?;
    if let Some(link) = conn.link() {
        link.serves = link.serves.min(link.served.saturating_add(1).saturating_add(reuse.more));
        link.kind = ResponseKind::of(&head, if incoming.is_end_stream() { Ending::Close } else { ending });
        link.may_idle = reuse.within.map_or(link.may_idle, |within| within.min(link.may_idle));
    }
    let body: BoxBody = if incoming.is_end_stream() {
        let mut conn = Some(conn);
        poll_fn(|cx| Poll::Ready(conn.take().map(|conn| settle(conn, cx)))).await;
        Box::pin(Empty::new().map_err(|never| match never {}))
    } else {
        Box::pin(UpstreamBody::new(incoming, conn))
    };
    Ok(UpstreamResponse::Response(Response::from_parts(head, body)))
}

async fn switch(
    mut head: http::response::Parts,
    mut conn: PooledConn,
    asked: Option<HeaderValue>,
) -> Result<UpstreamResponse, SendError> {
    if !framing::switch_was_asked(asked.as_ref(), &head.headers) {
        return Err(invalid("a switch of protocols that was not asked for"));
    }
    // The request's body, if there is one, belongs to the old protocol and goes first.
    let failed = poll_fn(|cx| match conn.link() {
        Some(link) => {
            if link.push(cx) == Progress::Closed {
                Poll::Ready(link.take_failure())
            } else {
                Poll::Pending
            }
        }
        None => Poll::Ready(None),
    })
    .await;
    if let Some(error) = failed {
        return Err(maybe_sent(send_failure(&error)));
    }
    head.extensions.remove::<hyper::upgrade::OnUpgrade>();
    match Tunnel::open(conn) {
        Some(tunnel) => Ok(UpstreamResponse::Tunnel(Response::from_parts(head, ()), Box::new(tunnel))),
        None => Err(maybe_sent(SendFailure::Broken("the connection ended while the protocol was switched".into()))),
    }
}

/// The request is in its slot.
fn not_sent(failure: SendFailure) -> SendError {
    SendError { sent: Sent::NotSent, failure }
}

fn maybe_sent(failure: SendFailure) -> SendError {
    SendError { sent: Sent::MaybeSent, failure }
}

fn invalid(reason: &'static str) -> SendError {
    maybe_sent(SendFailure::InvalidResponse(reason.into()))
}
