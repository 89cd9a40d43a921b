//! The use case: a request that names a model goes to the backend that serves it, and the answer comes back.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use domain::drain::LeaveReason;
use domain::model_name::ModelName;
use domain::table::Resolution;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Uri};
use ports::telemetry::{Outcome, Telemetry};
use ports::upstream::{BodyError, BoxBody, BoxRequest, RequestSlot, SendFailure, UpstreamResponse};

use super::Backend;
use super::cancel::RequestCancel;
use super::lease::Lease;
use super::leased_body::{Forwarded, LeasedBody, ObservedTunnel, Tunnel};
use super::request_tracker::RequestTracker;
use super::route_store::{RouteSnapshot, RouteStore};
use super::target::{self, API_PREFIX};

/// At how many backends one request is tried. Only one that did not take it is followed by another.
const MAX_ATTEMPTS: usize = 3;
/// How long a request that comes while the proxy starts waits for it to know who serves what.
const START_WAIT: Duration = Duration::from_secs(5);
/// How often one request looks at the table, where it changes each time while a backend is chosen.
const MAX_LOOKS: usize = 3;

/// Why a request was not forwarded.
#[derive(Debug)]
pub enum ProxyError {
    /// Nobody serves the model.
    Unknown {
        /// Some of what is served.
        names: Vec<ModelName>,
        /// How many more there are.
        more: usize,
        /// How many containers may still turn out to serve it.
        starting: usize,
        /// Whether a server lists it, and has more models than there is room for.
        left_out: bool,
    },
    /// Its backend is going.
    Draining,
    /// A container that has served it is not ready, or the proxy itself does not know yet.
    Unavailable,
    /// As many requests as can be are at the backend.
    Busy,
    /// The backend did not answer.
    Unreachable,
    /// What the backend sent is no answer by the rules of the protocol: why.
    InvalidResponse(String),
    /// The drain deadline came before the answer; why the backend went, if that is still known.
    Cut(Option<LeaveReason>),
    /// The request's own body failed.
    RequestBody(BodyError),
    /// The target cannot be written as one.
    Target,
}

/// Carries requests.
pub struct Proxy {
    routes: Arc<RouteStore>,
    telemetry: Arc<dyn Telemetry>,
}

/// What came of one try.
enum Tried {
    Answered(UpstreamResponse),
    Failed(SendFailure),
    /// The backend left service, or its drain is over.
    Interrupted {
        cut: bool,
    },
}

/// The backends that did not take a request.
#[derive(Default)]
struct Tries {
    backends: Vec<Arc<Backend>>,
    /// Whether one of them failed, rather than left service while the request waited for a connection.
    failed: bool,
    /// What was wrong with what the last one said unasked, if it did.
    invalid: Option<String>,
}

impl Tries {
    /// Returns true if the request may be tried there.
    fn allow(&self, backend: &Backend) -> bool {
        self.backends.len() < MAX_ATTEMPTS && self.backends.iter().all(|b| b.registration != backend.registration)
    }
}

impl Proxy {
    /// Carries requests by the table in `routes`.
    pub fn new(routes: Arc<RouteStore>, telemetry: Arc<dyn Telemetry>) -> Self {
        Self { routes, telemetry }
    }

    /// What the proxy knows.
    pub fn routes(&self) -> &Arc<RouteStore> {
        &self.routes
    }

    /// Where requests are reported.
    pub fn telemetry(&self) -> &dyn Telemetry {
        &*self.telemetry
    }

    /// Carries one request. Its target begins with [`target::API_PREFIX`]; hop-by-hop headers are gone from it already.
    ///
    /// # Errors
    /// The refusal, and the record of the request, for whoever answers in the backend's place.
    pub async fn forward(
        &self,
        model: &ModelName,
        mut request: BoxRequest,
        cancel: &Arc<RequestCancel>,
        mut tracker: RequestTracker,
    ) -> Result<Forwarded, (ProxyError, RequestTracker)> {
        let (mut asked, mut asked_host) = (None, None);
        let mut tries = Tries::default();
        loop {
            let mut lease = self.lease(model, &tries, cancel, &mut tracker);
            if matches!(lease, Err(ProxyError::Unavailable)) && !self.routes.has_settled() {
                // A proxy before us that does not ask whether we are ready sends requests from the first moment on.
                let _ = Box::pin(tokio::time::timeout(START_WAIT, self.routes.until_settled())).await;
                lease = self.lease(model, &tries, cancel, &mut tracker);
            }
            let lease = match lease {
                Ok(lease) => lease,
                Err(ProxyError::Unreachable) => {
                    let refusal = tries.invalid.map_or(ProxyError::Unreachable, ProxyError::InvalidResponse);
                    return Err((refusal, tracker));
                }
                Err(refusal) => return Err((refusal, tracker)),
            };
            if rewrite_uri(&mut request, &mut asked, lease.backend()).is_none() {
                return Err((ProxyError::Target, tracker));
            }
            set_host(request.headers_mut(), &mut asked_host, lease.backend().link.host());
            tracker.attempt(&lease, request.headers_mut());
            let slot = RequestSlot::new(request);
            let tried = attempt(&lease, &slot).await;
            match (tried, slot.take()) {
                (Tried::Answered(answer), _) => return Ok(forwarded(answer, lease, tracker)),
                (Tried::Failed(SendFailure::RequestBody(error)), _) => {
                    return Err((ProxyError::RequestBody(error), tracker));
                }
                (tried, Some(again)) => {
                    if let Err(refusal) = self.not_taken(tried, lease.backend(), &mut tries, &mut tracker) {
                        return Err((refusal, tracker));
                    }
                    request = again;
                }
                (Tried::Failed(failure), None) => {
                    tracker.attempt_failed(lease.backend(), &failure.to_string());
                    tracker.ends(Outcome::BackendBroke);
                    lease.broke();
                    let refusal = match failure {
                        SendFailure::InvalidResponse(why) => ProxyError::InvalidResponse(why),
                        _ => ProxyError::Unreachable,
                    };
                    return Err((refusal, tracker));
                }
                (Tried::Interrupted { cut }, None) => {
                    let (refusal, outcome) = match cut {
                        true => (ProxyError::Cut(self.reason(&lease)), Outcome::CutByDrain),
                        false => (ProxyError::Unreachable, Outcome::BackendBroke),
                    };
                    if !cut {
                        lease.broke();
                    }
                    tracker.attempt_failed(lease.backend(), "it was ended while it waited for an answer");
                    tracker.ends(outcome);
                    return Err((refusal, tracker));
                }
            }
        }
    }

    /// Notes that a backend did not take the request. The next one gets it.
    fn not_taken(
        &self,
        tried: Tried,
        backend: &Arc<Backend>,
        tries: &mut Tries,
        tracker: &mut RequestTracker,
    ) -> Result<(), ProxyError> {
        match tried {
            Tried::Failed(failure) => {
                tracker.attempt_failed(backend, &failure.to_string());
                if matches!(failure, SendFailure::TooManyConnections(_)) {
                    return Err(ProxyError::Busy);
                }
                self.routes.eject(backend.registration, failure.to_string());
                tries.failed = true;
                if let SendFailure::InvalidResponse(why) = failure {
                    tries.invalid = Some(why);
                }
            }
            _ => tracker.attempt_failed(backend, "it left service before there was a connection to it"),
        }
        tries.backends.push(Arc::clone(backend));
        Ok(())
    }

    /// Chooses a backend and takes a lease in one step: a gate that closes in between refuses, and the next in line is
    /// asked. Where all refuse, others may have come since the table was loaded: it is looked at again.
    fn lease(
        &self,
        model: &ModelName,
        tries: &Tries,
        cancel: &Arc<RequestCancel>,
        tracker: &mut RequestTracker,
    ) -> Result<Lease, ProxyError> {
        let mut published = self.routes.load();
        for _ in 1..MAX_LOOKS {
            let lease = self.lease_by(&published, model, tries, cancel, tracker);
            if lease.is_ok() {
                return lease;
            }
            let now = self.routes.load();
            if Arc::ptr_eq(&published, &now) {
                return lease;
            }
            published = now;
        }
        self.lease_by(&published, model, tries, cancel, tracker)
    }

    fn lease_by(
        &self,
        published: &RouteSnapshot,
        model: &ModelName,
        tries: &Tries,
        cancel: &Arc<RequestCancel>,
        tracker: &mut RequestTracker,
    ) -> Result<Lease, ProxyError> {
        let table = &published.table;
        match table.resolve(model.as_str()) {
            Resolution::Claimed(claims) => {
                if let Some(claim) = claims.first().filter(|_| tries.backends.is_empty()) {
                    tracker.routed(&claim.model);
                }
                let mut backends = claims.iter().map(|claim| &claim.backend).filter(|backend| tries.allow(backend));
                let lease = backends.find_map(|backend| Lease::take(backend, cancel));
                lease.ok_or(if tries.failed { ProxyError::Unreachable } else { ProxyError::Draining })
            }
            _ if tries.failed => Err(ProxyError::Unreachable),
            Resolution::Draining => Err(ProxyError::Draining),
            Resolution::Unavailable => Err(ProxyError::Unavailable),
            // What was served a moment ago is not unknown.
            Resolution::Unknown if !self.routes.has_settled() || !tries.backends.is_empty() => {
                Err(ProxyError::Unavailable)
            }
            Resolution::Unknown => {
                let (names, more) = published.first_names().clone();
                let left_out = published.is_left_out(model.as_str());
                Err(ProxyError::Unknown { names, more, starting: published.starting(), left_out })
            }
        }
    }

    /// Why the backend of a lease went out of service.
    fn reason(&self, lease: &Lease) -> Option<LeaveReason> {
        let registration = lease.backend().registration;
        let published = self.routes.load();
        let mut draining = published.table.draining().iter();
        draining.find(|draining| draining.backend.registration == registration).map(|found| found.reason.clone())
    }
}

/// Sends, and waits for the head of the answer: until there is one, the drain deadline comes, or the backend is gone.
/// A request that still waits for a connection when its backend leaves service waits no longer: when the connection is there,
/// its address may be that of another container.
async fn attempt(lease: &Lease, slot: &RequestSlot) -> Tried {
    let mut send = pin!(lease.backend().link.channel().send(slot));
    let (cancel, gate) = (lease.cancel(), &lease.backend().gate);
    poll_fn(|cx| {
        if cancel.is_force_closed() {
            return Poll::Ready(Tried::Interrupted { cut: true });
        }
        // Asked first: what the poll below finds connected may have been connected later.
        if gate.is_closed() && slot.is_filled() {
            return Poll::Ready(Tried::Interrupted { cut: false });
        }
        match send.as_mut().poll(cx) {
            Poll::Ready(Ok(answer)) => {
                cancel.note_received();
                Poll::Ready(Tried::Answered(answer))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Tried::Failed(error.failure)),
            Poll::Pending if cancel.must_fail_waiting() => Poll::Ready(Tried::Interrupted { cut: false }),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

fn forwarded(answer: UpstreamResponse, lease: Lease, mut tracker: RequestTracker) -> Forwarded {
    match answer {
        UpstreamResponse::Response(response) => {
            let streamed = response
                .headers()
                .get(CONTENT_TYPE)
                .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
            tracker.answered(response.status(), streamed);
            Forwarded::Response(response.map(|body| LeasedBody::new(body, lease, tracker)))
        }
        UpstreamResponse::Tunnel(head, upstream) => {
            tracker.answered(head.status(), true);
            lease.cancel().begin_streaming();
            let upstream = Box::new(ObservedTunnel { upstream, cancel: Arc::clone(lease.cancel()) });
            Forwarded::Tunnel(head, Tunnel { upstream, lease, tracker })
        }
    }
}

/// Aims a request at a backend; `None` if its target cannot be written. What the caller asked for moves to `asked` when
/// the request gets another target, so that it can be aimed again.
fn rewrite_uri(request: &mut http::Request<BoxBody>, asked: &mut Option<Uri>, backend: &Backend) -> Option<()> {
    if asked.is_none() && backend.base_path.as_str() == API_PREFIX && request.uri().authority().is_none() {
        // It is what it has to be.
        return request.uri().path_and_query().map(drop);
    }
    let asked = asked.get_or_insert_with(|| std::mem::take(request.uri_mut()));
    *request.uri_mut() = target::for_backend(asked, &backend.base_path)?;
    Some(())
}

/// Puts the backend's own name into `Host`. What the client sent there moves to `asked`, and comes back for a backend
/// without a name of its own.
fn set_host(headers: &mut HeaderMap, asked: &mut Option<Option<HeaderValue>>, host: Option<&HeaderValue>) {
    match host {
        Some(host) => {
            let before = headers.insert(HOST, host.clone());
            asked.get_or_insert(before);
        }
        None => match asked.take() {
            Some(Some(host)) => drop(headers.insert(HOST, host)),
            Some(None) => drop(headers.remove(HOST)),
            None => {}
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_host_comes_back_for_a_backend_without_a_name() {
        for client in [Some("llm.example"), None] {
            let mut headers = HeaderMap::new();
            headers.extend(client.map(|host| (HOST, HeaderValue::from_static(host))));
            let mut asked = None;
            for host in [None, Some("box.example:8080"), Some("other.example"), None, Some("box.example:8080"), None] {
                let value = host.map(HeaderValue::from_static);
                set_host(&mut headers, &mut asked, value.as_ref());
                let sent = headers.get(HOST).and_then(|sent| sent.to_str().ok());
                assert_eq!(sent, host.or(client));
            }
        }
    }
}
