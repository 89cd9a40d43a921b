//! The rules of the table as scenes: events of an engine, lists of backends, and time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod absence;
mod collisions;
mod discovery;
mod drains;
mod ends;
mod inspections;
mod limits;
mod lives;
mod matrix;
mod networks;
mod races;
mod returns;
mod snapshots;
mod stops;
mod words;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::container::{
    Addresses, Condition, Container, ContainerEvent, EngineTime, LifecycleEvent, LostAddresses, Reach, RunEnd,
    Unreachable,
};
use crate::labels::{self, InferenceLabels};
use crate::signal::Signal;

const DRAIN: Duration = Duration::from_secs(60);
const READMIT: Duration = Duration::from_secs(300);
const REFRESH: Duration = Duration::from_secs(30);
/// The start of a first run on the engine's clock; run `n` starts at `n` times as much, and events happen in between.
const RUN: u64 = 1000;

fn at<const N: usize>(ips: [[u8; 4]; N]) -> Reach {
    Reach::At(Addresses::in_order(ips.map(IpAddr::from)).unwrap())
}

/// Returns the first address of a container.
fn at_of(container: &Container) -> [u8; 4] {
    match &container.reach {
        Reach::At(addresses) => match addresses.first() {
            IpAddr::V4(ip) => ip.octets(),
            IpAddr::V6(ip) => panic!("{ip}"),
        },
        Reach::Nowhere(why) => panic!("{why}"),
    }
}

fn left_all() -> LifecycleEvent {
    LifecycleEvent::LeftNetwork(LostAddresses::All)
}

fn left<const N: usize>(ips: [[u8; 4]; N]) -> LifecycleEvent {
    LifecycleEvent::LeftNetwork(LostAddresses::These(ips.map(IpAddr::from).into()))
}

fn second(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Returns a container that is healthy, in its first run, on an address of its own; each method after that changes one
/// thing.
fn container(name: &str) -> Container {
    let last = name.bytes().fold(1_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    Container {
        id: ContainerId::new(name),
        name: name.into(),
        started_at: EngineTime(RUN),
        condition: Condition::Healthy,
        labels: Ok(InferenceLabels::default()),
        reach: at([[172, 20, 0, last]]),
        stop_signal: Signal::TERM,
        stop_timeout: Some(Duration::from_secs(10)),
        health_output: None,
        health_check_took: None,
        restarts: 0,
        last_end: None,
        origin: None,
        service: None,
    }
}

impl Container {
    fn is(self, condition: Condition) -> Self {
        Self { condition, ..self }
    }
    fn starting(self) -> Self {
        self.is(Condition::Starting)
    }
    fn unhealthy(self) -> Self {
        self.is(Condition::Unhealthy)
    }
    fn paused(self) -> Self {
        self.is(Condition::Paused)
    }
    fn exited(self) -> Self {
        self.is(Condition::NotRunning)
    }
    fn run(self, n: u64) -> Self {
        Self { started_at: EngineTime(n * RUN), ..self }
    }
    fn named(self, name: &str) -> Self {
        Self { name: name.into(), ..self }
    }
    fn at(self, ip: [u8; 4]) -> Self {
        self.at_any([ip])
    }
    fn at_any<const N: usize>(self, ips: [[u8; 4]; N]) -> Self {
        Self { reach: at(ips), ..self }
    }
    fn nowhere(self) -> Self {
        let theirs = vec!["other (10.9.0.2/16)".to_owned()];
        Self {
            reach: Reach::Nowhere(Unreachable { theirs, ours: vec!["172.20.0.2/16".to_owned()], other_project: None }),
            ..self
        }
    }
    fn with_bad_port(self) -> Self {
        Self { labels: labels::parse(|name| (name == labels::PORT).then_some("80a")), ..self }
    }
    fn stopped_by(self, stop_signal: Signal) -> Self {
        Self { stop_signal, ..self }
    }
    fn stop_timeout(self, stop_timeout: Duration) -> Self {
        Self { stop_timeout: Some(stop_timeout), ..self }
    }
}

/// A table, its clock, and the transitions of the last event.
struct Scene {
    table: RoutingTable<()>,
    now: Instant,
    /// The transitions of the last event, each in a few words.
    reported: Vec<String>,
    /// The ends of runs among them: exit code, out of memory, crashed.
    ends: Vec<(Option<i64>, bool, bool)>,
    /// The engine's clock.
    engine: u64,
}

impl Scene {
    fn new() -> Self {
        Self::readmitting_after(READMIT)
    }

    fn readmitting_after(readmit_after: Duration) -> Self {
        let drain = DrainPolicy { timeout: DRAIN, readmit_after };
        let rules =
            TableRules { drain, refresh_every: REFRESH, replicas: Default::default(), balance: Default::default() };
        #[allow(clippy::disallowed_methods, reason = "any first moment will do; time moves by hand from here")]
        let now = Instant::now();
        Self { table: RoutingTable::new(rules), now, reported: Vec::new(), ends: Vec::new(), engine: RUN }
    }

    fn apply(&mut self, event: TableEvent<()>) -> &mut Self {
        let rules = self.table.rules;
        (self.reported, self.ends) = (Vec::new(), Vec::new());
        let mut events = vec![event];
        let end = |transition: &Transition<()>| match transition {
            Transition::RunEnded { end, crashed, .. } => Some((end.exit_code, end.out_of_memory, *crashed)),
            _ => None,
        };
        while let Some(event) = events.pop() {
            let table = std::mem::replace(&mut self.table, RoutingTable::new(rules));
            let (table, out) = table.apply(event, self.now);
            self.table = table;
            self.ends.extend(out.iter().filter_map(end));
            self.reported.extend(out.iter().filter(|transition| end(transition).is_none()).map(words::transition));
            events.extend(out.into_iter().filter_map(|transition| match transition {
                Transition::Resume(DiscoveryRequest { container, generation, .. }) => {
                    Some(TableEvent::Resumed { container, generation, link: () })
                }
                _ => None,
            }));
        }
        self
    }

    fn source(&mut self, source: u8, event: ContainerEvent) -> &mut Self {
        self.apply(TableEvent::Source(SourceId(source), event))
    }

    fn inspects(&mut self, container: Container) -> &mut Self {
        self.engine = self.engine.max(container.started_at.0);
        self.source(0, ContainerEvent::Inspected(container))
    }

    fn snapshot<const N: usize>(&mut self, containers: [Container; N]) -> &mut Self {
        self.source(0, ContainerEvent::Snapshot(Vec::from(containers).into()))
    }

    /// Applies a lifecycle event that happens now.
    fn lifecycle(&mut self, id: &str, event: LifecycleEvent) -> &mut Self {
        self.engine += 1;
        self.lifecycle_at(self.engine, id, event)
    }

    fn lifecycle_at(&mut self, at: u64, id: &str, event: LifecycleEvent) -> &mut Self {
        self.source(0, ContainerEvent::Lifecycle { id: ContainerId::new(id), at: EngineTime(at), event })
    }

    fn signal(&mut self, id: &str, signal: u8) -> &mut Self {
        self.lifecycle(id, LifecycleEvent::Signal(Signal(signal)))
    }

    fn dies(&mut self, id: &str) -> &mut Self {
        self.lifecycle(id, LifecycleEvent::Ended { exit_code: Some(1) })
    }

    fn entry(&self, id: &str) -> &Entry<()> {
        self.table.entries.get(&ContainerId::new(id)).unwrap_or_else(|| panic!("{id} is not in the table"))
    }

    fn generation(&self, id: &str) -> Generation {
        self.entry(id).generation
    }

    /// Lists models for the present generation.
    fn lists(&mut self, id: &str, models: &[&str]) -> &mut Self {
        let generation = self.generation(id);
        self.lists_for(generation, id, models)
    }

    fn lists_for(&mut self, generation: Generation, id: &str, models: &[&str]) -> &mut Self {
        let reach = self.table.entries.get(&ContainerId::new(id)).map(|entry| entry.container.reach.clone());
        let ip = match reach {
            Some(Reach::At(addresses)) => addresses.first(),
            Some(Reach::Nowhere(_)) | None => IpAddr::from([0, 0, 0, 0]),
        };
        self.lists_at(ip, generation, id, models)
    }

    fn lists_at(&mut self, ip: IpAddr, generation: Generation, id: &str, models: &[&str]) -> &mut Self {
        let (container, models, address) = (ContainerId::new(id), listed(models), (ip, 8000).into());
        self.apply(TableEvent::Discovered { container, generation, address, models, link: () })
    }

    fn lists_again(&mut self, id: &str, models: &[&str]) -> &mut Self {
        let (container, generation) = (ContainerId::new(id), self.generation(id));
        self.apply(TableEvent::Refreshed { container, generation, models: listed(models) })
    }

    fn fails_to_list(&mut self, id: &str, failure: &str) -> &mut Self {
        self.fails(id, failure, false)
    }

    fn refuses(&mut self, id: &str) -> &mut Self {
        self.fails(id, "refused", true)
    }

    fn fails(&mut self, id: &str, failure: &str, unreachable: bool) -> &mut Self {
        let (container, generation) = (ContainerId::new(id), self.generation(id));
        self.apply(TableEvent::DiscoveryFailed { container, generation, failure: failure.into(), unreachable })
    }

    /// Brings a container into service with these models.
    fn serving(&mut self, container: Container, models: &[&str]) -> &mut Self {
        let id = container.id.clone();
        self.inspects(container).lists(id.as_str(), models)
    }

    fn backend(&self, id: &str) -> Arc<crate::backend::Backend<()>> {
        match &self.entry(id).state {
            State::Ready(ready) => Arc::clone(&ready.backend),
            State::Waiting(_) | State::Discovering(_) | State::Stopping(_) | State::Ended(_) => {
                panic!("{id} is {}", self.state(id))
            }
        }
    }

    fn ejected(&mut self, id: &str) -> &mut Self {
        let registration = self.backend(id).registration;
        self.apply(TableEvent::Ejected { registration, why: "refused".into() })
    }

    /// Lets time pass, with a tick at each wake of the table. The transitions on the way are kept, each with its
    /// second.
    fn passes(&mut self, time: Duration) -> &mut Self {
        let (start, end) = (self.now, self.now + time);
        let mut reported = Vec::new();
        while let Some(wake) = self.table.next_wake().filter(|wake| *wake <= end) {
            self.now = wake.max(self.now);
            self.apply(TableEvent::Tick);
            let at = (self.now - start).as_secs();
            reported.extend(self.reported.drain(..).map(|line| format!("{at}s: {line}")));
        }
        self.now = end;
        self.reported = reported;
        self
    }

    /// Returns the state of a container, in words.
    fn state(&self, id: &str) -> String {
        self.table.entries.get(&ContainerId::new(id)).map_or_else(|| "unknown".to_owned(), |e| words::state(&e.state))
    }

    /// Resolves a model, in words: `served by b, then a`.
    fn request(&self, model: &str) -> String {
        words::resolution(&self.table.resolve(model))
    }

    fn models(&self) -> Vec<String> {
        self.table.models().iter().map(|(_, model)| model.name.to_string()).collect()
    }
}

fn listed(models: &[&str]) -> Vec<(String, Arc<str>)> {
    models.iter().map(|id| ((*id).to_owned(), Arc::from(format!("{{\"id\":\"{id}\"}}")))).collect()
}
