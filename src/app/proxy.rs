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
use ports::upstream::{Answer, BodyError, BoxBody, BoxRequest, RequestSlot, SendFailure};

use super::Backend;
use super::answer::{AnswerBody, Carried, Noted, Tunnel};
use super::exchange::Exchange;
use super::interrupt::Interrupt;
use super::lease::Lease;
use super::shared::{Published, Shared};
use super::target::{self, API_PREFIX};

/// At how many backends one request is tried. Only one that did not take it is followed by another.
const MAX_ATTEMPTS: usize = 3;
/// How long a request that comes while the proxy starts waits for it to know who serves what.
const START_WAIT: Duration = Duration::from_secs(5);
/// How often one request looks at the table, where it changes each time while a backend is chosen.
const MAX_LOOKS: usize = 3;

/// Why a request was not carried.
#[derive(Debug)]
pub enum Refusal {
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
    InvalidAnswer(String),
    /// The drain deadline came before the answer; why the backend went, if that is still known.
    Cut(Option<LeaveReason>),
    /// The request's own body failed.
    RequestBody(BodyError),
    /// The target cannot be written as one.
    Target,
}

/// Carries requests.
pub struct Proxy {
    shared: Arc<Shared>,
    telemetry: Arc<dyn Telemetry>,
}

/// What came of one try.
enum Tried {
    Answered(Answer),
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
    /// Carries requests by the table in `shared`.
    pub fn new(shared: Arc<Shared>, telemetry: Arc<dyn Telemetry>) -> Self {
        Self { shared, telemetry }
    }

    /// What the proxy knows.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Where requests are reported.
    pub fn telemetry(&self) -> &dyn Telemetry {
        &*self.telemetry
    }

    /// Carries one request. Its target begins with [`target::API_PREFIX`]; hop-by-hop headers are gone from it already.
    ///
    /// # Errors
    /// The refusal, and the record of the request, for whoever answers in the backend's place.
    pub async fn carry(
        &self,
        model: &ModelName,
        mut request: BoxRequest,
        interrupt: &Arc<Interrupt>,
        mut exchange: Exchange,
    ) -> Result<Carried, (Refusal, Exchange)> {
        let (mut asked, mut asked_host) = (None, None);
        let mut tries = Tries::default();
        loop {
            let mut lease = self.lease(model, &tries, interrupt, &mut exchange);
            if matches!(lease, Err(Refusal::Unavailable)) && !self.shared.has_settled() {
                // A proxy before us that does not ask whether we are ready sends requests from the first moment on.
                let _ = Box::pin(tokio::time::timeout(START_WAIT, self.shared.until_settled())).await;
                lease = self.lease(model, &tries, interrupt, &mut exchange);
            }
            let lease = match lease {
                Ok(lease) => lease,
                Err(Refusal::Unreachable) => {
                    let refusal = tries.invalid.map_or(Refusal::Unreachable, Refusal::InvalidAnswer);
                    return Err((refusal, exchange));
                }
                Err(refusal) => return Err((refusal, exchange)),
            };
            if aim(&mut request, &mut asked, lease.backend()).is_none() {
                return Err((Refusal::Target, exchange));
            }
            name_host(request.headers_mut(), &mut asked_host, lease.backend().link.host());
            exchange.attempt(&lease, request.headers_mut());
            let slot = RequestSlot::new(request);
            let tried = attempt(&lease, &slot).await;
            match (tried, slot.take()) {
                (Tried::Answered(answer), _) => return Ok(carried(answer, lease, exchange)),
                (Tried::Failed(SendFailure::RequestBody(error)), _) => {
                    return Err((Refusal::RequestBody(error), exchange));
                }
                (tried, Some(again)) => {
                    if let Err(refusal) = self.not_taken(tried, lease.backend(), &mut tries, &mut exchange) {
                        return Err((refusal, exchange));
                    }
                    request = again;
                }
                (Tried::Failed(failure), None) => {
                    exchange.attempt_failed(lease.backend(), &failure.to_string());
                    exchange.ends(Outcome::BackendBroke);
                    lease.broke();
                    let refusal = match failure {
                        SendFailure::InvalidAnswer(why) => Refusal::InvalidAnswer(why),
                        _ => Refusal::Unreachable,
                    };
                    return Err((refusal, exchange));
                }
                (Tried::Interrupted { cut }, None) => {
                    let (refusal, outcome) = match cut {
                        true => (Refusal::Cut(self.reason(&lease)), Outcome::CutByDrain),
                        false => (Refusal::Unreachable, Outcome::BackendBroke),
                    };
                    if !cut {
                        lease.broke();
                    }
                    exchange.attempt_failed(lease.backend(), "it was ended while it waited for an answer");
                    exchange.ends(outcome);
                    return Err((refusal, exchange));
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
        exchange: &mut Exchange,
    ) -> Result<(), Refusal> {
        match tried {
            Tried::Failed(failure) => {
                exchange.attempt_failed(backend, &failure.to_string());
                if matches!(failure, SendFailure::TooManyConnections(_)) {
                    return Err(Refusal::Busy);
                }
                self.shared.eject(backend.registration, failure.to_string());
                tries.failed = true;
                if let SendFailure::InvalidAnswer(why) = failure {
                    tries.invalid = Some(why);
                }
            }
            _ => exchange.attempt_failed(backend, "it left service before there was a connection to it"),
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
        interrupt: &Arc<Interrupt>,
        exchange: &mut Exchange,
    ) -> Result<Lease, Refusal> {
        let mut published = self.shared.load();
        for _ in 1..MAX_LOOKS {
            let lease = self.lease_by(&published, model, tries, interrupt, exchange);
            if lease.is_ok() {
                return lease;
            }
            let now = self.shared.load();
            if Arc::ptr_eq(&published, &now) {
                return lease;
            }
            published = now;
        }
        self.lease_by(&published, model, tries, interrupt, exchange)
    }

    fn lease_by(
        &self,
        published: &Published,
        model: &ModelName,
        tries: &Tries,
        interrupt: &Arc<Interrupt>,
        exchange: &mut Exchange,
    ) -> Result<Lease, Refusal> {
        let table = &published.table;
        match table.resolve(model.as_str()) {
            Resolution::Claimed(claims) => {
                if let Some(claim) = claims.first().filter(|_| tries.backends.is_empty()) {
                    exchange.routed(&claim.model);
                }
                let mut backends = claims.iter().map(|claim| &claim.backend).filter(|backend| tries.allow(backend));
                let lease = backends.find_map(|backend| Lease::take(backend, interrupt));
                lease.ok_or(if tries.failed { Refusal::Unreachable } else { Refusal::Draining })
            }
            _ if tries.failed => Err(Refusal::Unreachable),
            Resolution::Draining => Err(Refusal::Draining),
            Resolution::Unavailable => Err(Refusal::Unavailable),
            // What was served a moment ago is not unknown.
            Resolution::Unknown if !self.shared.has_settled() || !tries.backends.is_empty() => {
                Err(Refusal::Unavailable)
            }
            Resolution::Unknown => {
                let (names, more) = published.first_names().clone();
                let left_out = published.is_left_out(model.as_str());
                Err(Refusal::Unknown { names, more, starting: published.starting(), left_out })
            }
        }
    }

    /// Why the backend of a lease went out of service.
    fn reason(&self, lease: &Lease) -> Option<LeaveReason> {
        let registration = lease.backend().registration;
        let published = self.shared.load();
        let mut retiring = published.table.retiring().iter();
        retiring.find(|retiring| retiring.backend.registration == registration).map(|found| found.reason.clone())
    }
}

/// Sends, and waits for the head of the answer: until there is one, the drain deadline comes, or the backend is gone.
/// A request that still waits for a connection when its backend leaves service waits no longer: when the connection is there,
/// its address may be that of another container.
async fn attempt(lease: &Lease, slot: &RequestSlot) -> Tried {
    let mut send = pin!(lease.backend().link.channel().send(slot));
    let (interrupt, gate) = (lease.interrupt(), &lease.backend().gate);
    poll_fn(|cx| {
        if interrupt.is_force_closed() {
            return Poll::Ready(Tried::Interrupted { cut: true });
        }
        // Asked first: what the poll below finds connected may have been connected later.
        if gate.is_closed() && slot.is_filled() {
            return Poll::Ready(Tried::Interrupted { cut: false });
        }
        match send.as_mut().poll(cx) {
            Poll::Ready(Ok(answer)) => {
                interrupt.note_received();
                Poll::Ready(Tried::Answered(answer))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Tried::Failed(error.failure)),
            Poll::Pending if interrupt.must_fail_waiting() => Poll::Ready(Tried::Interrupted { cut: false }),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

fn carried(answer: Answer, lease: Lease, mut exchange: Exchange) -> Carried {
    match answer {
        Answer::Response(response) => {
            let streamed = response
                .headers()
                .get(CONTENT_TYPE)
                .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
            exchange.answered(response.status(), streamed);
            Carried::Response(response.map(|body| AnswerBody::new(body, lease, exchange)))
        }
        Answer::Tunnel(head, upstream) => {
            exchange.answered(head.status(), true);
            lease.interrupt().begin_streaming();
            let upstream = Box::new(Noted { upstream, interrupt: Arc::clone(lease.interrupt()) });
            Carried::Tunnel(head, Tunnel { upstream, lease, exchange })
        }
    }
}

/// Aims a request at a backend; `None` if its target cannot be written. What the caller asked for moves to `asked` when
/// the request gets another target, so that it can be aimed again.
fn aim(request: &mut http::Request<BoxBody>, asked: &mut Option<Uri>, backend: &Backend) -> Option<()> {
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
fn name_host(headers: &mut HeaderMap, asked: &mut Option<Option<HeaderValue>>, host: Option<&HeaderValue>) {
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
                name_host(&mut headers, &mut asked, value.as_ref());
                let sent = headers.get(HOST).and_then(|sent| sent.to_str().ok());
                assert_eq!(sent, host.or(client));
            }
        }
    }
}
