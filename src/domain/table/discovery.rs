//! The results of discovery and refreshes, and the ejection of backends that cannot be reached.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::entry::{Discovering, KnownModels, Ready, Stale, State, Waiting};
use super::event::Transition;
use super::ids::Generation;
use super::warning::Warning;
use super::{Entry, MAX_CLAIMS, MAX_MODELS_PER_BACKEND, RoutingTable, Transitions};
use crate::backend::{Backend, OfferedModel, Registration};
use crate::container::{ContainerId, Reach};
use crate::drain::LeaveReason;
use crate::gate::Gate;
use crate::model_name::{ModelName, unusable};

/// The number of failed connections in a row that eject a backend in service. Its own health check may have stopped
/// running: some engines forget it when they are restarted.
const FAILURES_UNTIL_EJECTED: u8 = 2;

/// The number of empty lists in a row that are believed. Fewer may come from a server that loads another model.
const EMPTY_LISTS_UNTIL_BELIEVED: u8 = 3;

impl<L: Clone> RoutingTable<L> {
    /// Registers a backend that has listed its models.
    pub(super) fn discovered(
        &mut self,
        id: &ContainerId,
        generation: Generation,
        (address, listed, link): (SocketAddr, Vec<(String, Arc<str>)>, L),
        now: Instant,
        out: &mut Transitions<L>,
    ) {
        let (models, left_out) = self.usable(id, listed, generation, out);
        if models.is_empty() {
            let failure = Arc::from("none of the ids that it lists can be used");
            self.discovery_failed(id, generation, failure, false, now, out);
            return self.retry_later(id, generation, now);
        }
        let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.generation == generation) else { return };
        let &State::Discovering(Discovering { order, .. }) = &entry.state else { return };
        let Reach::At(addresses) = &entry.container.reach else { return };
        if !addresses.contains(address.ip()) {
            // It lost that address during its discovery.
            return self.discover(id, order, now, out);
        }
        entry.left_out = sorted(left_out);
        self.register(id, (address, models, link), order, now, out);
        if let Some(Entry { state: State::Ready(ready), .. }) = self.entries.get_mut(id) {
            ready.refresh_at = now + self.rules.refresh_every;
        }
    }

    /// Registers a backend that is back in the same run, with the models that it listed before. They are refreshed at
    /// once.
    pub(super) fn resumed(
        &mut self,
        id: &ContainerId,
        generation: Generation,
        link: L,
        now: Instant,
        out: &mut Transitions<L>,
    ) {
        let Some(entry) = self.entries.get(id).filter(|entry| entry.generation == generation) else { return };
        let (State::Discovering(Discovering { order, .. }), Some(known)) = (&entry.state, &entry.known) else { return };
        let (order, address, models) = (*order, known.address, Arc::clone(&known.models));
        self.register(id, (address, models, link), order, now, out);
    }

    /// Registers a backend and its claims. Its refresh is due at once.
    fn register(
        &mut self,
        id: &ContainerId,
        (address, models, link): (SocketAddr, Arc<[OfferedModel]>, L),
        order: u64,
        now: Instant,
        out: &mut Transitions<L>,
    ) {
        let full = self.claim_count + models.len() > MAX_CLAIMS;
        let registration = Registration(self.next_sequence());
        let Some(Ok(labels)) = self.entries.get(id).map(|entry| entry.container.labels.clone()) else { return };
        let replica = if full { None } else { self.join(id, &labels, order, now) };
        let Some(entry) = self.entries.get_mut(id) else { return };
        let Some(replica) = replica else {
            let none_of_it = models.iter().map(|model| model.name.clone());
            entry.left_out = sorted(entry.left_out.iter().cloned().chain(none_of_it).collect());
            entry.set(State::Waiting(Waiting::TooMany), now);
            out.push(Transition::Abandon(id.clone()));
            return self.warn(id, Warning::TableFull, out);
        };
        let backend = Arc::new(Backend {
            registration,
            container: id.clone(),
            name: Arc::clone(&entry.container.name),
            started_at: entry.container.started_at,
            address,
            base_path: labels.base_path,
            origin: entry.container.origin.clone(),
            gate: Arc::new(Gate::new()),
            link: Arc::new(link),
            replica,
        });
        let ready = Ready {
            backend: Arc::clone(&backend),
            models: Arc::clone(&models),
            order,
            refresh_at: now,
            failures: 0,
            stale: None,
            empty_lists: 0,
        };
        entry.known = Some(KnownModels { run: backend.started_at, address, models: Arc::clone(&models) });
        entry.set(State::Ready(ready), now);
        entry.warned.retain(Warning::is_about_list);
        entry.history.entered_service(entry.container.started_at);
        self.remember(id, models.iter().map(|model| model.name.clone()).collect());
        self.lift_deadlines(id, backend.started_at);
        self.succeed(id);
        out.push(Transition::Registered(Arc::clone(&backend), Arc::clone(&models)));
        self.claim(&backend, &models, order, out);
    }

    /// Takes in the refreshed list of a backend in service: claims the models that are new, and gives up those that are
    /// gone.
    pub(super) fn refreshed(
        &mut self,
        id: &ContainerId,
        generation: Generation,
        listed: Vec<(String, Arc<str>)>,
        now: Instant,
        out: &mut Transitions<L>,
    ) {
        let lists_none = listed.is_empty();
        let (mut models, mut left_out) = self.usable(id, listed, generation, out);
        let refresh_at = now + self.rules.refresh_every;
        let claim_count = self.claim_count;
        let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.generation == generation) else { return };
        let State::Ready(ready) = &mut entry.state else { return };
        (ready.failures, ready.refresh_at) = (0, refresh_at);
        ready.empty_lists = if lists_none { ready.empty_lists.saturating_add(1) } else { 0 };
        let believed = ready.models.is_empty() || ready.empty_lists >= EMPTY_LISTS_UNTIL_BELIEVED;
        if models.is_empty() && !(lists_none && believed) {
            // Invalid ids have a warning of their own.
            if lists_none {
                self.mark_stale(id, Arc::from("it lists no model"), now, out);
            }
            return;
        }
        self.clear_stale(id, now, out);
        let Some(entry) = self.entries.get_mut(id) else { return };
        let State::Ready(ready) = &mut entry.state else { return };
        if *ready.models == *models {
            entry.left_out = sorted(left_out);
            entry.warned.retain(|warning| *warning != Warning::TableFull);
            return;
        }
        let (backend, order, before) = (Arc::clone(&ready.backend), ready.order, Arc::clone(&ready.models));
        let removed: Vec<_> = missing(&before, &models).iter().map(|model| model.name.clone()).collect();
        let mut added = missing(&models, &before);
        // A model that finds no room is not kept, so that it counts as new once there is room.
        let over = added.split_off(added.len().min((MAX_CLAIMS + removed.len()).saturating_sub(claim_count)));
        models = missing(&models, &over).into();
        ready.models = Arc::clone(&models);
        left_out.extend(over.iter().map(|model| model.name.clone()));
        entry.left_out = sorted(left_out);
        entry.known =
            Some(KnownModels { run: backend.started_at, address: backend.address, models: Arc::clone(&models) });
        if !over.is_empty() {
            self.warn(id, Warning::TableFull, out);
        } else if let Some(entry) = self.entries.get_mut(id) {
            entry.warned.retain(|warning| *warning != Warning::TableFull);
        }
        if added.is_empty() && removed.is_empty() {
            return; // only a description has changed
        }
        out.push(Transition::ModelsChanged {
            backend: Arc::clone(&backend),
            added: added.iter().map(|model| model.name.clone()).collect(),
            removed: removed.clone(),
        });
        self.disclaim(&backend, removed.iter(), out);
        self.remember(id, models.iter().map(|model| model.name.clone()).collect());
        self.claim(&backend, &added, order, out);
    }

    /// Takes in a failure to list the models of a backend.
    pub(super) fn discovery_failed(
        &mut self,
        id: &ContainerId,
        generation: Generation,
        failure: Arc<str>,
        unreachable: bool,
        now: Instant,
        out: &mut Transitions<L>,
    ) {
        let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.generation == generation) else { return };
        let State::Discovering(discovering) = &mut entry.state else {
            return self.refresh_failed(id, failure, unreachable, now, out);
        };
        let failed_before = discovering.failure.replace(Arc::clone(&failure)).is_some();
        let order = discovering.order;
        // It accepts connections and only its list fails: that is not a reason to keep out a run that has served.
        let serves = !unreachable && failed_before && entry.known_of_this_run().is_some();
        let elsewhere = unreachable && entry.has_untried_address();
        self.warn(id, Warning::DiscoveryFailed(failure), out);
        if serves {
            out.push(Transition::Abandon(id.clone()));
            self.resume(id, order, now, out);
        } else if elsewhere {
            self.discover(id, order, now, out);
        }
    }

    /// Takes in a failure to refresh the models of a backend in service.
    fn refresh_failed(
        &mut self,
        id: &ContainerId,
        failure: Arc<str>,
        unreachable: bool,
        now: Instant,
        out: &mut Transitions<L>,
    ) {
        let refresh_at = now + self.rules.refresh_every;
        let Some(Entry { state: State::Ready(ready), .. }) = self.entries.get_mut(id) else { return };
        ready.refresh_at = refresh_at;
        ready.failures = if unreachable { ready.failures.saturating_add(1) } else { 0 };
        if ready.failures >= FAILURES_UNTIL_EJECTED {
            self.eject(id, LeaveReason::Ejected(failure.to_string()), now, out);
        } else if !unreachable {
            self.mark_stale(id, failure, now, out);
        }
    }

    /// Marks the list of a backend in service as out of date. The operator is warned once for each reason.
    fn mark_stale(&mut self, id: &ContainerId, why: Arc<str>, now: Instant, out: &mut Transitions<L>) {
        let Some(Entry { state: State::Ready(ready), .. }) = self.entries.get_mut(id) else { return };
        let since = ready.stale.as_ref().map_or(now, |stale| stale.since);
        ready.stale = Some(Stale { why: Arc::clone(&why), since });
        self.warn(id, Warning::NotRefreshed(why), out);
    }

    /// Clears the mark after a list that succeeded.
    fn clear_stale(&mut self, id: &ContainerId, now: Instant, out: &mut Transitions<L>) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let State::Ready(ready) = &mut entry.state else { return };
        let Some(stale) = ready.stale.take() else { return };
        let after = now.saturating_duration_since(stale.since);
        out.push(Transition::ListsAgain { backend: Arc::clone(&ready.backend), after });
        entry.warned.retain(|warning| !matches!(warning, Warning::NotRefreshed(_)));
    }

    /// Schedules another discovery of a backend that listed no usable model: the application does not retry after a
    /// response.
    fn retry_later(&mut self, id: &ContainerId, generation: Generation, now: Instant) {
        let retry_at = now + self.rules.refresh_every;
        if let Some(Entry { state: State::Discovering(discovering), .. }) =
            self.entries.get_mut(id).filter(|entry| entry.generation == generation)
        {
            discovering.retry_at = Some(retry_at);
        }
    }

    /// Ejects a backend that a request could not reach: the first sign of a death, before the engine knows.
    pub(super) fn eject_registration(
        &mut self,
        registration: Registration,
        why: String,
        now: Instant,
        out: &mut Transitions<L>,
    ) {
        let Some(id) = self.registered(registration).map(|ready| ready.backend.container.clone()) else { return };
        self.eject(&id, LeaveReason::Ejected(why), now, out);
    }

    /// Takes a backend out of service until it has listed its models again, and has its container inspected. It keeps
    /// its rank among those that turned healthy.
    pub(super) fn eject(&mut self, id: &ContainerId, reason: LeaveReason, now: Instant, out: &mut Transitions<L>) {
        let Some(entry) = self.entries.get(id) else { return };
        let State::Ready(Ready { order, .. }) = entry.state else { return };
        out.push(Transition::RefreshContainer(entry.source, id.clone()));
        self.leave_service(id, reason, now, out);
        self.discover(id, order, now, out);
    }

    /// Returns the models that may be claimed (valid names, each once, not too many), and the names of those that are
    /// too many. A model that is claimed already stays, however the list is ordered.
    fn usable(
        &mut self,
        id: &ContainerId,
        listed: Vec<(String, Arc<str>)>,
        generation: Generation,
        out: &mut Transitions<L>,
    ) -> (Arc<[OfferedModel]>, Vec<ModelName>) {
        let Some(entry) = self.entries.get(id).filter(|entry| entry.generation == generation) else {
            return (Arc::from([]), Vec::new());
        };
        let claimed = match &entry.state {
            State::Ready(ready) => names(&ready.models),
            // An ejected backend keeps the models that it served in this run, whatever the order of its list.
            State::Discovering(_) => entry.known_of_this_run().map(|known| names(&known.models)).unwrap_or_default(),
            State::Waiting(_) | State::Stopping(_) | State::Ended(_) => HashSet::new(),
        };
        let (mut models, mut added) = (Vec::new(), Vec::new());
        let (mut seen, mut bad) = (HashSet::new(), None);
        for (name, object) in listed {
            match ModelName::parse(&name) {
                Err(why) => bad = Some(unusable(&name, why)),
                Ok(name) if !seen.insert(name.clone()) => {}
                Ok(name) if claimed.contains(name.as_str()) => models.push(OfferedModel { name, object }),
                Ok(name) => added.push(OfferedModel { name, object }),
            }
        }
        let over = added.split_off(added.len().min(MAX_MODELS_PER_BACKEND.saturating_sub(models.len())));
        models.append(&mut added);
        if let Some(why) = bad {
            self.warn(id, Warning::BadModelName(why), out);
        }
        if !over.is_empty() {
            self.warn(id, Warning::TooManyModels(over.len()), out);
        } else if let Some(entry) = self.entries.get_mut(id) {
            entry.warned.retain(|warning| !matches!(warning, Warning::TooManyModels(_)));
        }
        (models.into(), over.into_iter().map(|model| model.name).collect())
    }
}

/// Returns the models of `of` that `than` lacks, by name.
fn missing(of: &[OfferedModel], than: &[OfferedModel]) -> Vec<OfferedModel> {
    let than = names(than);
    of.iter().filter(|model| !than.contains(model.name.as_str())).cloned().collect()
}

fn names(models: &[OfferedModel]) -> HashSet<&str> {
    models.iter().map(|model| model.name.as_str()).collect()
}

fn sorted(mut names: Vec<ModelName>) -> Arc<[ModelName]> {
    names.sort_unstable();
    names.dedup();
    names.into()
}
