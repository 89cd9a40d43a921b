//! The use case: a request that names a model goes to the backend that serves it, and the answer comes back.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use http::header::CONTENT_TYPE;

use super::Backend;
use super::answer::{AnswerBody, Carried, Tunnel};
use super::exchange::Exchange;
use super::interrupt::Interrupt;
use super::lease::Lease;
use super::shared::Shared;
use super::target;
use crate::domain::model_name::ModelName;
use crate::domain::table::Resolution;
use crate::ports::telemetry::{Outcome, Telemetry};
use crate::ports::upstream::{Answer, BodyError, BoxBody, SendError, SendFailure, Sent};

/// At how many backends one request is tried. Only one that did not take it is followed by another.
const MAX_ATTEMPTS: usize = 3;
/// The most models that a refusal names.
const MODELS_NAMED: usize = 20;

/// Why a request was not carried.
#[derive(Debug)]
pub enum Refusal {
    /// Nobody serves the model. Some of what is served, and how many more there are.
    Unknown(Vec<ModelName>, usize),
    /// Its backend is going.
    Draining,
    /// A container that has served it is not ready, or the proxy itself does not know yet.
    Unavailable,
    /// As many requests as can be are at the backend.
    Busy,
    /// The backend did not answer.
    Unreachable,
    /// The drain deadline came before the answer.
    Cut,
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

/// One try and what came of it.
enum Tried {
    Answered(Answer),
    /// The backend did not take it; here it is again.
    NotTaken(http::Request<BoxBody>, SendFailure),
    Failed(SendFailure),
    Interrupted {
        cut: bool,
    },
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
        mut request: http::Request<BoxBody>,
        interrupt: &Arc<Interrupt>,
        mut exchange: Exchange,
    ) -> Result<Carried, (Refusal, Exchange)> {
        let asked = std::mem::take(request.uri_mut());
        let mut tried: Vec<Arc<Backend>> = Vec::new();
        loop {
            let lease = match self.lease(model, &tried, interrupt, &mut exchange) {
                Ok(lease) => lease,
                Err(refusal) => return Err((refusal, exchange)),
            };
            let Some(uri) = target::for_backend(&asked, &lease.backend().base_path) else {
                return Err((Refusal::Target, exchange));
            };
            *request.uri_mut() = uri;
            exchange.attempt(&lease, request.headers_mut());
            match attempt(&lease, request).await {
                Tried::Answered(answer) => return Ok(carried(answer, lease, exchange)),
                Tried::NotTaken(again, failure) => {
                    exchange.attempt_failed(lease.backend(), &failure.to_string());
                    if matches!(failure, SendFailure::TooManyConnections(_)) {
                        return Err((Refusal::Busy, exchange));
                    }
                    self.shared.suspect(lease.backend().registration, failure.to_string());
                    tried.push(Arc::clone(lease.backend()));
                    request = again;
                }
                Tried::Failed(SendFailure::RequestBody(error)) => return Err((Refusal::RequestBody(error), exchange)),
                Tried::Failed(failure) => {
                    exchange.attempt_failed(lease.backend(), &failure.to_string());
                    exchange.ends(Outcome::BackendBroke);
                    return Err((Refusal::Unreachable, exchange));
                }
                Tried::Interrupted { cut } => {
                    let (refusal, outcome) = match cut {
                        true => (Refusal::Cut, Outcome::CutByDrain),
                        false => (Refusal::Unreachable, Outcome::BackendBroke),
                    };
                    exchange.attempt_failed(lease.backend(), "it was ended while it waited for an answer");
                    exchange.ends(outcome);
                    return Err((refusal, exchange));
                }
            }
        }
    }

    /// Chooses a backend and takes a lease in one step: a gate that closes in between refuses, and the next in line is
    /// asked.
    fn lease(
        &self,
        model: &ModelName,
        tried: &[Arc<Backend>],
        interrupt: &Arc<Interrupt>,
        exchange: &mut Exchange,
    ) -> Result<Lease, Refusal> {
        let published = self.shared.load();
        match published.table.resolve(model.as_str()) {
            Resolution::Claimed(claims) => {
                if let Some(claim) = claims.first().filter(|_| tried.is_empty()) {
                    exchange.routed(&claim.model);
                }
                let open = |backend: &&Arc<Backend>| !tried.iter().any(|t| t.registration == backend.registration);
                let lease = (tried.len() < MAX_ATTEMPTS)
                    .then(|| claims.iter().map(|claim| &claim.backend).filter(open))
                    .and_then(|mut backends| backends.find_map(|backend| Lease::take(backend, interrupt)));
                lease.ok_or(if tried.is_empty() { Refusal::Draining } else { Refusal::Unreachable })
            }
            _ if !tried.is_empty() => Err(Refusal::Unreachable),
            Resolution::Draining => Err(Refusal::Draining),
            Resolution::Unavailable => Err(Refusal::Unavailable),
            Resolution::Unknown if !self.shared.has_settled() => Err(Refusal::Unavailable),
            Resolution::Unknown => {
                let mut names: Vec<_> = published.table.models().iter().map(|(_, m)| m.name.clone()).collect();
                let more = names.len().saturating_sub(MODELS_NAMED);
                names.truncate(MODELS_NAMED);
                Err(Refusal::Unknown(names, more))
            }
        }
    }
}

/// Sends, and waits for the head of the answer: until there is one, the drain deadline comes, or the backend is gone.
async fn attempt(lease: &Lease, request: http::Request<BoxBody>) -> Tried {
    let mut send = pin!(lease.backend().link.channel().send(request));
    let interrupt = lease.interrupt();
    poll_fn(|cx| {
        if interrupt.is_cut() {
            return Poll::Ready(Tried::Interrupted { cut: true });
        }
        match send.as_mut().poll(cx) {
            Poll::Ready(Ok(answer)) => Poll::Ready(Tried::Answered(answer)),
            Poll::Ready(Err(error)) => Poll::Ready(failed(error)),
            Poll::Pending if interrupt.is_severed() => Poll::Ready(Tried::Interrupted { cut: false }),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

fn failed(error: SendError) -> Tried {
    match (error.sent, error.request) {
        (Sent::NotSent, Some(request)) => Tried::NotTaken(*request.0, error.failure),
        _ => Tried::Failed(error.failure),
    }
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
            Carried::Tunnel(head, Tunnel { upstream, lease, exchange })
        }
    }
}
