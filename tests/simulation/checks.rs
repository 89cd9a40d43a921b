//! What must hold after every step, and what must hold when nothing happens any more.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use domain::backend::Registration;
use domain::pool::{Pool, PoolId, Replicas};
use domain::table::{Claim, Draining, Resolution, State};

use super::engine::{Engine, MODELS};
use super::proxy::{DRAIN, Proxy, READMIT};

pub fn always(proxy: &Proxy) {
    claims_are_those_of_ready_backends(proxy);
    ready_is_what_was_told(proxy);
    gates_agree_with_requests(proxy);
    a_run_in_service_has_no_deadline(proxy);
}

/// What a run had in flight before it came back goes on; what it remembers of signals is bounded.
fn a_run_in_service_has_no_deadline(proxy: &Proxy) {
    for (id, entry) in proxy.table.entries() {
        assert!(entry.signals.len() <= 16, "{id} remembers {} signals", entry.signals.len());
        let State::Ready(ready) = &entry.state else { continue };
        let of_it = |r: &&Draining<()>| r.backend.container == *id && r.backend.started_at == ready.backend.started_at;
        for draining in proxy.table.draining().iter().filter(of_it) {
            assert_eq!(
                (draining.force_close_at, draining.fail_waiting_at),
                (None, None),
                "{id} serves, and its requests have a deadline"
            );
        }
    }
}

fn claims_are_those_of_ready_backends(proxy: &Proxy) {
    let (table, mut claimed) = (&proxy.table, 0);
    for model in MODELS {
        let Resolution::Claimed(claims) = table.resolve(model) else { continue };
        claimed += claims.len();
        let rank = |claim: &Claim<()>| (claim.backend.replica.pool.order, claim.order);
        assert!(
            !claims.is_empty() && claims.windows(2).all(|pair| rank(&pair[0]) > rank(&pair[1])),
            "order of {model}"
        );
        for claim in claims {
            let ready = table.registered(claim.backend.registration).expect("a claim of a backend out of service");
            assert!(!claim.backend.gate.is_closed(), "a claim of a closed gate");
            assert_eq!((claim.model.as_str(), claim.order), (model, ready.order));
            assert!(ready.models.iter().any(|offered| offered.name == claim.model), "a claim to what it does not list");
        }
    }
    pools_are_those_of_their_members(proxy);
    let ready = table.entries().filter_map(|(_, entry)| match &entry.state {
        State::Ready(ready) => Some(ready.models.len()),
        State::Waiting(_) | State::Discovering(_) | State::Stopping(_) | State::Ended(_) => None,
    });
    let offered: Vec<_> = ready.collect();
    assert_eq!(claimed, offered.iter().sum::<usize>(), "what is listed and what is claimed");
    assert_eq!(table.active(), offered.len());
    let models: Vec<_> = table.models().iter().map(|(_, model)| model.name.clone()).collect();
    assert!(models.windows(2).all(|pair| pair[0] < pair[1]), "sorted, each once");
    let served = MODELS.iter().filter(|model| matches!(table.resolve(model), Resolution::Claimed(_))).count();
    assert_eq!(models.len(), served);
}

/// One pool for each name, as old as its first member.
fn pools_are_those_of_their_members(proxy: &Proxy) {
    let mut pools: HashMap<PoolId, Arc<Pool>> = HashMap::new();
    for (id, entry) in proxy.table.entries() {
        let State::Ready(ready) = &entry.state else { continue };
        let pool = &ready.backend.replica.pool;
        assert_eq!(pool.id, PoolId::of(&entry.container, Replicas::Service), "{id}");
        assert!(pool.order <= ready.order, "{id} joined before its pool was there");
        let known = pools.entry(pool.id.clone()).or_insert_with(|| Arc::clone(pool));
        assert!(Arc::ptr_eq(known, pool), "two pools are called {}", pool.id);
    }
}

fn ready_is_what_was_told(proxy: &Proxy) {
    for (id, entry) in proxy.table.entries() {
        let State::Ready(ready) = &entry.state else { continue };
        let told = &proxy.told[id];
        assert!(told.may_serve, "{id} serves though the last thing told of it speaks against it");
        let ip = ready.backend.address.ip();
        assert!(told.addresses.contains(&ip), "{id} serves at {ip}, which it has lost");
        assert_eq!(ready.backend.started_at, told.run, "{id} serves a run that is over");
        if let Some(stopped) = told.stopped {
            let late = proxy.now >= stopped + DRAIN + READMIT && proxy.was_taken_back(id);
            assert!(late, "{id} serves though it was told to stop in this run");
        }
    }
}

fn gates_agree_with_requests(proxy: &Proxy) {
    let mut inside: HashMap<Registration, usize> = HashMap::new();
    proxy.in_flight.iter().for_each(|backend| *inside.entry(backend.registration).or_default() += 1);
    let draining: BTreeSet<_> = proxy.table.draining().iter().map(|r| r.backend.registration).collect();
    assert_eq!(draining.len(), proxy.table.draining().len(), "draining twice");
    for (registration, (backend, retired, removed)) in &proxy.backends {
        let inside = inside.get(registration).copied().unwrap_or(0);
        assert_eq!(backend.gate.in_flight(), inside);
        assert_eq!(backend.gate.is_closed(), *retired, "closed when retired, and only then");
        assert_eq!(draining.contains(registration), *retired && !removed);
        assert_eq!(*removed, *retired && inside == 0, "removed when the last request left, and not before");
        assert_eq!(proxy.table.registered(*registration).is_some(), !retired, "in service until it is retired");
    }
}

pub fn settled(engine: &Engine, proxy: &Proxy) {
    assert!(proxy.table.draining().is_empty() && proxy.in_flight.is_empty());
    let known: Vec<_> = proxy.table.entries().map(|(id, _)| id).collect();
    assert_eq!(known, engine.containers.keys().collect::<Vec<_>>(), "the table knows what there is, and nothing else");
    for (id, entry) in proxy.table.entries() {
        let truth = &engine.containers[id];
        let State::Ready(ready) = &entry.state else {
            assert!(!truth.serves(), "{id} is healthy, and {:?}", entry.state);
            continue;
        };
        let starting_again = truth.container.condition == domain::container::Condition::Starting;
        assert!(truth.serves() || starting_again, "{id} serves, and is {:?}", truth.container.condition);
        let listed: Vec<_> = ready.models.iter().map(|model| model.name.as_str().to_owned()).collect();
        assert_eq!(listed, truth.models, "{id}");
        assert_eq!(ready.backend.started_at, truth.container.started_at);
    }
}
