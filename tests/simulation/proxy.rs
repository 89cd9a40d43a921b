//! The application's part, as simple as can be: performs transitions, asks questions, lets requests in and out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::backend::{Backend, Registration};
use domain::balance::{Choice, KeyState, Policy, choose};
use domain::container::{Condition, ContainerEvent, ContainerId, EngineTime, LifecycleEvent, Reach};
use domain::drain::DrainPolicy;
use domain::gate::Closed;
use domain::signal::Meaning;
use domain::signal::Signal;
use domain::table::{
    DiscoveryRequest, Generation, Resolution, RoutingTable, SourceId, TableEvent, TableRules, Transition,
};

use super::dice::Dice;
use super::engine::{Engine, MODELS, Truth};

pub const DRAIN: Duration = Duration::from_secs(60);
pub const READMIT: Duration = Duration::from_secs(300);

/// What was told of a container, as plainly as possible: may it serve?
#[derive(Debug, Clone, Default)]
pub struct Told {
    pub run: EngineTime,
    /// The last thing told was a look at it, healthy or starting, on an address.
    pub may_serve: bool,
    /// Where it is reached: the addresses of the last look, without those lost since.
    pub addresses: Vec<IpAddr>,
    /// It was told to stop in this run, then.
    pub stopped: Option<Instant>,
    /// The stop signals of this run.
    pub signals: Vec<(EngineTime, Signal)>,
}

pub struct Proxy {
    pub table: RoutingTable<()>,
    pub now: Instant,
    pub told: HashMap<ContainerId, Told>,
    pub looks_wanted: Vec<(SourceId, ContainerId)>,
    /// Every backend that was ever registered, and whether it was retired and removed.
    pub backends: BTreeMap<Registration, (Arc<Backend<()>>, bool, bool)>,
    pub in_flight: Vec<Arc<Backend<()>>>,
    questions: Vec<(DiscoveryRequest, bool)>,
    finished: Vec<Registration>,
    taken_back: BTreeSet<ContainerId>,
}

impl Proxy {
    pub fn new() -> Self {
        let drain = DrainPolicy { timeout: DRAIN, readmit_after: READMIT };
        let table = RoutingTable::new(TableRules {
            drain,
            refresh_every: Duration::from_secs(30),
            replicas: Default::default(),
            balance: Default::default(),
        });
        #[allow(clippy::disallowed_methods, reason = "any first moment will do; time moves by hand from here")]
        let now = Instant::now();
        Self {
            table,
            now,
            told: HashMap::new(),
            looks_wanted: Vec::new(),
            backends: BTreeMap::new(),
            in_flight: Vec::new(),
            questions: Vec::new(),
            finished: Vec::new(),
            taken_back: BTreeSet::new(),
        }
    }

    pub fn registered(&self) -> usize {
        self.backends.len()
    }

    fn apply(&mut self, event: TableEvent<()>) {
        let rules = *self.table.rules();
        let table = std::mem::replace(&mut self.table, RoutingTable::new(rules));
        let (table, transitions) = table.apply(event, self.now);
        self.table = table;
        for transition in transitions {
            self.perform(transition);
        }
        while let Some(registration) = self.finished.pop() {
            self.apply(TableEvent::DrainFinished(registration));
        }
    }

    fn perform(&mut self, transition: Transition<()>) {
        match transition {
            Transition::Discover(question) => self.questions.push((question, false)),
            Transition::Resume(DiscoveryRequest { container, generation, .. }) => {
                self.apply(TableEvent::Resumed { container, generation, link: () });
            }
            Transition::RefreshModels(question) => self.questions.push((question, true)),
            // Answers to what was abandoned may be on their way: the questions stay, half of them.
            Transition::Abandon(id) => {
                let mut keep = false;
                self.questions.retain(|(question, _)| question.container != id || std::mem::replace(&mut keep, true));
            }
            Transition::RefreshContainer(source, id) => self.looks_wanted.push((source, id)),
            Transition::Registered(backend, models) => {
                assert!(!models.is_empty());
                let newest = self.backends.keys().next_back().is_none_or(|last| *last < backend.registration);
                assert!(newest, "registration {} came out of order or twice", backend.registration);
                self.backends.insert(backend.registration, (backend, false, false));
            }
            Transition::LeftService { backend, .. } => {
                let (_, retired, _) = self.backends.get_mut(&backend.registration).expect("retired, never registered");
                assert!(!std::mem::replace(retired, true), "retired twice");
                match backend.gate.close() {
                    Closed::Empty => self.finished.push(backend.registration),
                    Closed::InFlight(count) => assert!(count > 0),
                    Closed::Already => panic!("a gate was closed before its backend was retired"),
                }
            }
            Transition::FailWaiting(backend) => self.cut(&backend, true),
            Transition::ForceClose(backend) => self.cut(&backend, false),
            Transition::Removed { backend, .. } => {
                let (_, retired, removed) = self.backends.get_mut(&backend.registration).expect("never registered");
                assert!(*retired && !std::mem::replace(removed, true), "removed twice, or without being retired");
                assert_eq!(backend.gate.in_flight(), 0, "removed with requests in flight");
            }
            Transition::Warn { container, warning, .. } => {
                if warning == domain::table::Warning::Readmitted {
                    self.taken_back.insert(container);
                }
            }
            Transition::Collision { winner, displaced, .. } => assert_ne!(winner.registration, displaced.registration),
            Transition::ModelsChanged { added, removed, .. } => assert!(!added.is_empty() || !removed.is_empty()),
            Transition::RunEnded { .. }
            | Transition::ListsAgain { .. }
            | Transition::TookOver { .. }
            | Transition::SourceDisconnected(..)
            | Transition::SourceSynced(..) => {}
        }
    }

    /// Ends requests of a backend: every one, or only every other one where the rest still hands over bytes.
    fn cut(&mut self, backend: &Backend<()>, half: bool) {
        let mut spare = false;
        let (stay, go): (Vec<_>, Vec<_>) = self.in_flight.drain(..).partition(|other| {
            spare = !spare;
            other.registration != backend.registration || (half && spare)
        });
        self.in_flight = stay;
        for request in go {
            self.leave(&request);
        }
    }

    fn leave(&mut self, backend: &Backend<()>) {
        assert!(backend.gate.in_flight() > 0, "more requests left than entered");
        if backend.gate.leave() {
            self.finished.push(backend.registration);
        }
    }

    pub fn hears(&mut self, source: SourceId, event: ContainerEvent) {
        match &event {
            ContainerEvent::Snapshot(all) => {
                let containers = &all.containers;
                let missing = |id: &ContainerId| !containers.iter().any(|container| container.id == *id);
                let of_source =
                    |id: &ContainerId| self.table.entries().any(|(e, entry)| e == id && entry.source == source);
                let gone: Vec<_> = self.told.keys().filter(|id| missing(id) && of_source(id)).cloned().collect();
                gone.iter().for_each(|id| self.told.entry(id.clone()).or_default().may_serve = false);
                containers.iter().for_each(|container| self.note_look(container));
            }
            ContainerEvent::Inspected(container) => self.note_look(container),
            ContainerEvent::Lifecycle { id, at, event: edge } => self.note_edge(id, *at, edge),
            ContainerEvent::InspectionFailed(_) | ContainerEvent::Disconnected(_) => {}
        }
        self.apply(TableEvent::Source(source, event));
    }

    fn note_look(&mut self, container: &domain::container::Container) {
        let told = self.told.entry(container.id.clone()).or_default();
        if container.started_at != told.run {
            *told = Told { run: container.started_at, ..Told::default() };
        }
        let healthy = matches!(container.condition, Condition::Healthy | Condition::Starting);
        told.may_serve = healthy && matches!(container.reach, Reach::At(_));
        told.addresses = match &container.reach {
            Reach::At(addresses) => addresses.iter().collect(),
            Reach::Nowhere(_) => Vec::new(),
        };
    }

    fn note_edge(&mut self, id: &ContainerId, at: EngineTime, edge: &LifecycleEvent) {
        let now = self.now;
        let Some(told) = self.told.get_mut(id).filter(|told| at >= told.run) else { return };
        match edge {
            LifecycleEvent::Signal(signal) if signal.meaning(Signal::TERM) == Meaning::Other => {}
            LifecycleEvent::Signal(signal) if told.signals.contains(&(at, *signal)) => {} // told again
            LifecycleEvent::Signal(signal) => {
                told.signals.push((at, *signal));
                (told.may_serve, told.stopped) = (false, Some(now));
            }
            LifecycleEvent::Ended { .. }
            | LifecycleEvent::Removed
            | LifecycleEvent::Paused
            | LifecycleEvent::Unhealthy => told.may_serve = false,
            LifecycleEvent::LeftNetwork(lost) => told.addresses.retain(|ip| !lost.contains(*ip)),
            LifecycleEvent::OutOfMemory | LifecycleEvent::Renamed(_) => {}
        }
    }

    pub fn one_question_is_answered(&mut self, dice: &mut Dice, engine: &Engine) {
        if let Some(place) = dice.place(self.questions.len()) {
            let (question, refresh) = self.questions.swap_remove(place);
            let honest = !dice.one_in(4);
            self.answer(dice, engine, question, refresh, honest, true);
        }
    }

    pub fn all_questions_are_answered(&mut self, dice: &mut Dice, engine: &Engine) {
        for (question, refresh) in std::mem::take(&mut self.questions) {
            self.answer(dice, engine, question, refresh, true, false);
        }
    }

    fn answer(
        &mut self,
        dice: &mut Dice,
        engine: &Engine,
        question: DiscoveryRequest,
        refresh: bool,
        honest: bool,
        spoils: bool,
    ) {
        let DiscoveryRequest { container, generation, .. } = question.clone();
        let generation = if honest { generation } else { Generation(generation.0.saturating_sub(dice.up_to(9))) };
        let answered = answering(engine, &question, refresh);
        let Some((truth, address)) = answered.filter(|_| honest || dice.one_in(2)) else {
            let failure = Arc::from("refused");
            self.apply(TableEvent::DiscoveryFailed { container, generation, failure, unreachable: dice.one_in(2) });
            if !refresh {
                self.questions.push((question, false)); // asked again and again
            }
            return;
        };
        let unusable = spoils && dice.one_in(8);
        let ids = if unusable { vec!["\n"] } else { truth.models.clone() };
        let models = ids.into_iter().map(|id| (id.to_owned(), Arc::from("{}"))).collect();
        let asked = self.table.entries().find(|(id, _)| **id == container).map(|(_, entry)| entry.generation);
        let (void, before) = (asked != Some(generation), (self.registered(), self.table.active()));
        self.apply(match refresh {
            true => TableEvent::Refreshed { container, generation, models },
            false => TableEvent::Discovered { container, generation, address, models, link: () },
        });
        assert!(!void || before == (self.registered(), self.table.active()), "an answer to an earlier question counts");
        if !refresh && generation != question.generation {
            self.questions.push((question, false));
        }
    }

    /// One that goes by the present table, and one that goes by a table of long ago.
    pub fn a_request_enters(&mut self, dice: &mut Dice) {
        if let Some(place) = dice.place(self.backends.len()) {
            let (backend, retired, _) = self.backends.values().nth(place).unwrap();
            assert_eq!(backend.gate.try_enter(), !retired, "a retired backend takes nobody in");
            if !retired {
                self.in_flight.push(Arc::clone(backend));
            }
        }
        let model = MODELS[dice.place(MODELS.len()).unwrap()];
        let Resolution::Claimed(claims) = self.table.resolve(model) else { return };
        let members = &claims[..domain::table::members(claims)];
        let states: Vec<_> = members
            .iter()
            .map(|claim| claim.backend.replica.member(claim.backend.gate.in_flight(), true, self.now, 1))
            .collect();
        let key = dice.one_in(2).then(|| KeyState::new(dice.up_to(1000)));
        match choose(&states, Policy::PrefixAffinity, key, dice.up_to(1000)) {
            None => assert!(states.iter().all(|member| !member.has_room), "a member with room is passed over"),
            Some(Choice { index, .. }) => {
                let lowest = states.iter().filter(|member| member.has_room).map(|member| member.tier).min();
                assert!(states[index].has_room && Some(states[index].tier) == lowest, "a member of a later tier");
                let backend = Arc::clone(&members[index].backend);
                assert!(backend.gate.try_enter(), "a claimed backend of the present table refuses a request");
                self.in_flight.push(backend);
            }
        }
    }

    /// `false` where there is none.
    pub fn a_request_leaves(&mut self, dice: &mut Dice) -> bool {
        let Some(place) = dice.place(self.in_flight.len()) else { return false };
        let backend = self.in_flight.swap_remove(place);
        self.leave(&backend);
        while let Some(registration) = self.finished.pop() {
            self.apply(TableEvent::DrainFinished(registration));
        }
        true
    }

    /// A suspicion of any registration that ever was.
    pub fn suspects(&mut self, dice: &mut Dice) {
        let all: Vec<_> = self.backends.keys().copied().collect();
        if let Some(place) = dice.place(all.len()) {
            self.apply(TableEvent::Ejected { registration: all[place], why: "refused".into() });
        }
    }

    /// Time passes; the table ticks when it asked to.
    pub fn passes(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(wake) = self.table.next_wake().filter(|wake| *wake <= end) {
            self.now = wake.max(self.now);
            self.apply(TableEvent::Tick);
            let next = self.table.next_wake();
            assert!(next.is_none_or(|next| next > self.now), "a tick that leaves something due would spin");
        }
        self.now = end;
    }

    pub fn was_taken_back(&self, id: &ContainerId) -> bool {
        self.taken_back.contains(id)
    }
}

/// The container that answers a question, and the first address at which it does.
fn answering<'a>(engine: &'a Engine, question: &DiscoveryRequest, refresh: bool) -> Option<(&'a Truth, SocketAddr)> {
    let truth = engine.containers.get(&question.container).filter(|truth| truth.runs())?;
    let Reach::At(addresses) = &truth.container.reach else { return None };
    let others = question.others.iter().filter(|_| !refresh);
    let asked = std::iter::once(&question.address).chain(others);
    asked.copied().find(|address| addresses.contains(address.ip())).map(|address| (truth, address))
}
