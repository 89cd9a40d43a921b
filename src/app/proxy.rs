//! The use case: a request that names a model goes to the backend that serves it, and the answer comes back.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use domain::balance::PrefixKeys;
use domain::drain::LeaveReason;
use domain::model_name::ModelName;
use domain::table::{self, Claim, Resolution};
use ports::telemetry::{Outcome, Telemetry};
use ports::upstream::{BoxRequest, RequestSlot, SendFailure, UpstreamResponse};

use super::Backend;
use super::cancel::RequestCancel;
use super::lease::Lease;
use super::leased_body::Forwarded;
use super::link::Link;
use super::original::Original;
pub use super::proxy_error::ProxyError;
use super::replay::Replay;
use super::replicas::{self, Chosen};
use super::request_tracker::RequestTracker;
use super::route_store::{RouteSnapshot, RouteStore};

/// At how many backends one request is tried. Only one that did not take it is followed by another.
const MAX_ATTEMPTS: usize = 3;
/// How long a request that comes while the proxy starts waits for it to know who serves what.
const START_WAIT: Duration = Duration::from_secs(5);
/// How often one request looks at the table, where it changes each time while a backend is chosen.
const MAX_LOOKS: usize = 3;
/// Why an attempt failed that was ended from outside.
const CANCELED: &str = "it was ended while it waited for a response";

/// Forwards requests to the backends that serve their models.
pub struct Proxy {
    routes: Arc<RouteStore>,
    telemetry: Arc<dyn Telemetry>,
}

/// The outcome of one attempt at one backend.
enum Attempt {
    Responded(UpstreamResponse),
    Failed(SendFailure),
    /// The backend left service, or its drain is over.
    Interrupted {
        force_closed: bool,
    },
}

/// What helps to choose among the replicas of a model.
#[derive(Default)]
pub struct ReplicaHints {
    /// How the request begins.
    pub prefix: Option<PrefixKeys>,
    /// Its body, where that is all there.
    pub replay: Option<Replay>,
}

/// The backends that did not take a request.
#[derive(Default)]
struct Tries {
    /// Whether the model has several replicas.
    has_choice: bool,
    backends: Vec<Arc<Backend>>,
    /// Whether one of them failed, rather than left service while the request waited for a connection.
    failed: bool,
    /// What was wrong with the unsolicited data of the last one that sent any.
    invalid: Option<String>,
}

impl Tries {
    /// Returns true if the request may be tried there.
    fn allow(&self, backend: &Backend) -> bool {
        self.backends.len() < MAX_ATTEMPTS && self.backends.iter().all(|b| b.registration != backend.registration)
    }

    /// Returns true if the request was tried at this container already.
    fn has_tried(&self, backend: &Backend) -> bool {
        self.backends.iter().any(|tried| tried.container == backend.container)
    }

    /// The error of a request that nobody took and somebody failed.
    fn failure(&self) -> ProxyError {
        self.invalid.clone().map_or(ProxyError::Unreachable, ProxyError::InvalidResponse)
    }
}

impl Proxy {
    /// A proxy that routes by the table in `routes`.
    pub fn new(routes: Arc<RouteStore>, telemetry: Arc<dyn Telemetry>) -> Self {
        Self { routes, telemetry }
    }

    /// The present routes.
    pub fn routes(&self) -> &Arc<RouteStore> {
        &self.routes
    }

    /// Where requests are reported.
    pub fn telemetry(&self) -> &dyn Telemetry {
        &*self.telemetry
    }

    /// Forwards one request. Its target begins with [`API_PREFIX`](super::target::API_PREFIX) and its hop-by-hop headers are gone already.
    ///
    /// A request that a backend did not take goes to the next one that claims the model, [`MAX_ATTEMPTS`] in all.
    ///
    /// # Errors
    /// Why no backend responded.
    pub async fn forward(
        &self,
        model: &ModelName,
        mut hints: Option<Box<ReplicaHints>>,
        mut request: BoxRequest,
        cancel: &Arc<RequestCancel>,
        tracker: &mut RequestTracker,
    ) -> Result<Forwarded, ProxyError> {
        let prefix = hints.as_ref().and_then(|hints| hints.prefix);
        let (mut tries, mut original) = (Tries::default(), Original::default());
        loop {
            let lease = self.lease_once_settled(model, prefix, &mut tries, cancel, tracker).await?;
            original.point(&mut request, lease.backend())?;
            tracker.attempt(&lease, request.headers_mut());
            let replay = hints.as_mut().filter(|_| tries.has_choice).and_then(|hints| hints.replay.take());
            let saved = replay.map(|replay| replay.save(&request));
            let slot = RequestSlot::new(request);
            let attempted = attempt(&lease, &slot).await;
            match (attempted, slot.take()) {
                (Attempt::Responded(response), _) => match saved {
                    Some(saved) if self.is_declined(model, &response, &lease, &mut tries, tracker) => {
                        request = saved.into_request();
                    }
                    _ => {
                        self.note_outcome(model, replicas::failure(response.status()), &lease, &tries);
                        return Ok(Forwarded::new(response, lease, tracker));
                    }
                },
                (Attempt::Failed(SendFailure::RequestBody(error)), _) => return Err(ProxyError::RequestBody(error)),
                (attempted, Some(untouched)) => {
                    self.not_taken(attempted, lease.backend(), &mut tries, tracker)?;
                    request = untouched;
                }
                (attempted, None) => {
                    let error = self.broken_off(attempted, &lease, tracker);
                    if !matches!(error, ProxyError::Cut(_)) {
                        self.note_outcome(model, Some("it broke the request off"), &lease, &tries);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Notes that a backend did not take the request. The next one gets it.
    fn not_taken(
        &self,
        attempted: Attempt,
        backend: &Arc<Backend>,
        tries: &mut Tries,
        tracker: &mut RequestTracker,
    ) -> Result<(), ProxyError> {
        match attempted {
            Attempt::Failed(failure) => {
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

    /// Returns true if a replica declined the request and another one has room for it: that one gets it, once.
    fn is_declined(
        &self,
        model: &ModelName,
        response: &UpstreamResponse,
        lease: &Lease,
        tries: &mut Tries,
        tracker: &mut RequestTracker,
    ) -> bool {
        let status = response.status();
        if !replicas::is_declined(status) {
            return false;
        }
        let backend = lease.backend();
        let published = self.routes.load();
        let has_room = |other: &Backend| {
            other.registration != backend.registration
                && tries.allow(other)
                && !other.gate.is_closed()
                && other.gate.in_flight() < other.replica.max_requests
        };
        if !members_of(&published, model).iter().any(|claim| has_room(&claim.backend)) {
            return false;
        }
        tracker.attempt_failed(backend, &format!("it declined with {status}; another replica gets the request"));
        self.note_outcome(model, replicas::failure(status), lease, tries);
        tries.backends.push(Arc::clone(backend));
        true
    }

    /// Notes how a request ended at a replica.
    fn note_outcome(&self, model: &ModelName, failed: Option<&str>, lease: &Lease, tries: &Tries) {
        let backend = lease.backend();
        match failed {
            _ if !tries.has_choice => {}
            None => backend.replica.load.outlier.succeeded(),
            Some(why) => {
                let published = self.routes.load();
                replicas::note_failure(why, backend, members_of(&published, model), &self.routes.clock);
            }
        }
    }

    /// Notes that a backend may have begun a request and gave no response. No other backend gets it.
    fn broken_off(&self, attempted: Attempt, lease: &Lease, tracker: &mut RequestTracker) -> ProxyError {
        if let Attempt::Interrupted { force_closed: true } = attempted {
            tracker.attempt_failed(lease.backend(), CANCELED);
            tracker.ends(Outcome::ForceClosed);
            return ProxyError::Cut(self.leave_reason(lease));
        }
        tracker.ends(Outcome::BackendBroke);
        lease.broke();
        match attempted {
            Attempt::Failed(failure) => {
                tracker.attempt_failed(lease.backend(), &failure.to_string());
                match failure {
                    SendFailure::InvalidResponse(why) => ProxyError::InvalidResponse(why),
                    _ => ProxyError::Unreachable,
                }
            }
            _ => {
                tracker.attempt_failed(lease.backend(), CANCELED);
                ProxyError::Unreachable
            }
        }
    }

    /// Takes a lease; where there is none while the proxy starts, waits until it knows who serves what.
    async fn lease_once_settled(
        &self,
        model: &ModelName,
        prefix: Option<PrefixKeys>,
        tries: &mut Tries,
        cancel: &Arc<RequestCancel>,
        tracker: &mut RequestTracker,
    ) -> Result<Lease, ProxyError> {
        let lease = self.lease(model, prefix, tries, cancel, tracker);
        if !matches!(lease, Err(ProxyError::Unavailable)) || self.routes.has_settled() {
            return lease;
        }
        // A proxy before us that does not ask whether we are ready sends requests from the first moment on.
        let _ = Box::pin(tokio::time::timeout(START_WAIT, self.routes.until_settled())).await;
        self.lease(model, prefix, tries, cancel, tracker)
    }

    /// Chooses a backend and takes a lease in one step: a gate that closes in between refuses, and the next in line is
    /// asked. Where all refuse, others may have come since the table was loaded: it is looked at again.
    fn lease(
        &self,
        model: &ModelName,
        prefix: Option<PrefixKeys>,
        tries: &mut Tries,
        cancel: &Arc<RequestCancel>,
        tracker: &mut RequestTracker,
    ) -> Result<Lease, ProxyError> {
        let mut published = self.routes.load();
        for _ in 1..MAX_LOOKS {
            let lease = self.lease_by(&published, model, prefix, tries, cancel, tracker);
            if lease.is_ok() {
                return lease;
            }
            let now = self.routes.load();
            if Arc::ptr_eq(&published, &now) {
                return lease;
            }
            published = now;
        }
        self.lease_by(&published, model, prefix, tries, cancel, tracker)
    }

    fn lease_by(
        &self,
        published: &RouteSnapshot,
        model: &ModelName,
        prefix: Option<PrefixKeys>,
        tries: &mut Tries,
        cancel: &Arc<RequestCancel>,
        tracker: &mut RequestTracker,
    ) -> Result<Lease, ProxyError> {
        match published.table.resolve(model.as_str()) {
            Resolution::Claimed(claims) => {
                if let Some(claim) = claims.first().filter(|_| tries.backends.is_empty()) {
                    tracker.routed(&claim.model);
                }
                let (members, others) = claims.split_at(table::members(claims));
                tries.has_choice = members.len() > 1;
                let take = |claim: &Claim<Link>| match tries.allow(&claim.backend) {
                    true => Lease::take(&claim.backend, cancel),
                    false => None,
                };
                let lease = match members {
                    [only] => take(only),
                    members => {
                        // A container that refused the request gets it again only if no other one takes it, though it
                        // may be registered anew meanwhile.
                        let is_other = |backend: &Backend| tries.allow(backend) && !tries.has_tried(backend);
                        let may = |backend: &Backend| tries.allow(backend);
                        let (clock, chance) = (&self.routes.clock, self.routes.chance());
                        let chosen = match replicas::lease(members, prefix, is_other, cancel, clock, chance) {
                            Chosen::None if !tries.backends.is_empty() => {
                                replicas::lease(members, prefix, may, cancel, clock, chance)
                            }
                            chosen => chosen,
                        };
                        match chosen {
                            Chosen::Lease(lease) => Some(lease),
                            Chosen::Busy => return Err(ProxyError::AllBusy),
                            Chosen::None => None,
                        }
                    }
                };
                let lease = lease.or_else(|| others.iter().find_map(take));
                lease.ok_or_else(|| match members {
                    _ if tries.failed => tries.failure(),
                    [only] if !only.backend.gate.is_closed() && tries.allow(&only.backend) => ProxyError::AllBusy,
                    _ => ProxyError::Draining,
                })
            }
            _ if tries.failed => Err(tries.failure()),
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
    fn leave_reason(&self, lease: &Lease) -> Option<LeaveReason> {
        let registration = lease.backend().registration;
        let published = self.routes.load();
        let mut draining = published.table.draining().iter();
        draining.find(|draining| draining.backend.registration == registration).map(|found| found.reason.clone())
    }
}

/// The replicas that serve a model.
fn members_of<'a>(published: &'a RouteSnapshot, model: &ModelName) -> &'a [Claim<Link>] {
    match published.table.resolve(model.as_str()) {
        Resolution::Claimed(claims) => claims.get(..table::members(claims)).unwrap_or_default(),
        Resolution::Draining | Resolution::Unavailable | Resolution::Unknown => &[],
    }
}

/// Sends, and waits for the head of the response: until there is one, the drain deadline comes, or the backend is gone.
/// A request that still waits for a connection when its backend leaves service waits no longer: when the connection is there,
/// its address may be that of another container.
async fn attempt(lease: &Lease, slot: &RequestSlot) -> Attempt {
    let mut send = pin!(lease.backend().link.channel().send(slot));
    let (cancel, gate) = (lease.cancel(), &lease.backend().gate);
    poll_fn(|cx| {
        if cancel.is_force_closed() {
            return Poll::Ready(Attempt::Interrupted { force_closed: true });
        }
        // Asked first: what the poll below finds connected may have been connected later.
        if gate.is_closed() && slot.is_filled() {
            return Poll::Ready(Attempt::Interrupted { force_closed: false });
        }
        match send.as_mut().poll(cx) {
            Poll::Ready(Ok(response)) => {
                cancel.note_received();
                Poll::Ready(Attempt::Responded(response))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Attempt::Failed(error.failure)),
            Poll::Pending if cancel.must_fail_waiting() => Poll::Ready(Attempt::Interrupted { force_closed: false }),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
