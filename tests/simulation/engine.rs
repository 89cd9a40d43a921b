//! The truth: containers that come and go, and what two engines tell of them, in order and late.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use domain::container::{
    Addresses, Condition, Container, ContainerEvent, ContainerId, EngineTime, LifecycleEvent, LostAddresses, Reach,
    Unreachable,
};
use domain::labels::InferenceLabels;
use domain::signal::Signal;
use domain::table::SourceId;
use testkit::container::ContainerBuilder;

use super::dice::Dice;

const SERVICES: u64 = 6;
pub const MODELS: [&str; 5] = ["m", "n", "o", "base", "lora"];

/// One container as it truly is.
#[derive(Debug, Clone)]
pub struct Truth {
    pub container: Container,
    pub models: Vec<&'static str>,
    source: SourceId,
}

impl Truth {
    pub fn runs(&self) -> bool {
        !matches!(self.container.condition, Condition::NotRunning | Condition::Restarting)
    }

    /// Whether it is to be routable when all is known.
    pub fn serves(&self) -> bool {
        self.container.condition == Condition::Healthy && matches!(self.container.reach, Reach::At(_))
    }
}

pub struct Engine {
    clock: u64,
    made: u64,
    pub containers: BTreeMap<ContainerId, Truth>,
    /// What is on its way to the proxy.
    queue: VecDeque<(SourceId, ContainerEvent)>,
    /// Sources that are out of sight: nothing is told of them until they show everything again.
    lost: Vec<SourceId>,
    /// Edges that were told; now and then one is told again, late.
    past: Vec<(SourceId, ContainerEvent)>,
}

impl Engine {
    pub fn new() -> Self {
        Self {
            clock: 1,
            made: 0,
            containers: BTreeMap::new(),
            queue: VecDeque::new(),
            lost: Vec::new(),
            past: Vec::new(),
        }
    }

    pub fn tell(&mut self) -> Option<(SourceId, ContainerEvent)> {
        self.queue.pop_front()
    }

    fn push(&mut self, source: SourceId, event: ContainerEvent) {
        if !self.lost.contains(&source) {
            self.queue.push_back((source, event));
        }
    }

    fn edge(&mut self, dice: &mut Dice, id: &ContainerId, edge: LifecycleEvent) {
        self.clock += 1;
        let source = self.containers[id].source;
        let at = EngineTime(self.clock);
        let event = ContainerEvent::Lifecycle { id: id.clone(), at, event: edge };
        if dice.one_in(10) {
            self.push(source, event.clone());
        }
        if let Some((source, late)) = dice.place(self.past.len()).map(|place| self.past.swap_remove(place)) {
            self.push(source, late);
        }
        if dice.one_in(3) {
            self.past.push((source, event.clone()));
        }
        self.push(source, event);
    }

    /// What the source answers when it is asked to look at one container.
    pub fn look(&mut self, source: SourceId, id: &ContainerId) {
        let event = match self.containers.get(id) {
            Some(truth) => ContainerEvent::Inspected(truth.container.clone()),
            None => {
                ContainerEvent::Lifecycle { id: id.clone(), at: EngineTime(self.clock), event: LifecycleEvent::Removed }
            }
        };
        self.push(source, event);
    }

    fn show(&mut self, source: SourceId) {
        self.lost.retain(|lost| *lost != source);
        let of_it = self.containers.values().filter(|truth| truth.source == source);
        let snapshot: Vec<_> = of_it.map(|truth| truth.container.clone()).collect();
        self.push(source, ContainerEvent::Snapshot(snapshot.into()));
    }

    pub fn show_all(&mut self) {
        self.show(SourceId(0));
        self.show(SourceId(1));
    }

    pub fn something_happens(&mut self, dice: &mut Dice) {
        let source = SourceId(dice.up_to(2) as u8);
        match dice.up_to(60) {
            0 => {
                self.queue.retain(|(of, _)| *of != source);
                self.push(source, ContainerEvent::Disconnected("the stream ended".into()));
                self.lost.push(source);
            }
            1..=3 => self.show(source),
            4..=9 => self.make(dice),
            _ => {
                let ids: Vec<_> = self.containers.keys().cloned().collect();
                if let Some(place) = dice.place(ids.len()) {
                    self.something_happens_to(&ids[place], dice);
                }
            }
        }
    }

    fn make(&mut self, dice: &mut Dice) {
        let name = format!("service-{}", dice.up_to(SERVICES));
        if self.containers.values().any(|truth| *truth.container.name == *name) {
            return;
        }
        self.made += 1;
        let id = ContainerId::new(format!("{name}-{}", self.made));
        let container = Container {
            name: name.into(),
            started_at: EngineTime(0),
            condition: Condition::NotRunning,
            labels: Ok(InferenceLabels {
                weight: 1 + dice.up_to(3) as u16,
                priority: dice.up_to(2) as u8,
                max_requests: dice.one_in(3).then_some(2),
                ..InferenceLabels::default()
            }),
            reach: Reach::Nowhere(Unreachable { theirs: Vec::new(), ours: Vec::new(), other_project: None }),
            service: (!dice.one_in(3)).then(|| format!("pool-{}", dice.up_to(2)).into()),
            ..ContainerBuilder::new(id.as_str()).build()
        };
        let source = SourceId(dice.up_to(2) as u8);
        self.containers.insert(id.clone(), Truth { container, models: models(dice), source });
        self.look(source, &id);
    }

    fn something_happens_to(&mut self, id: &ContainerId, dice: &mut Dice) {
        let condition = self.containers[id].container.condition;
        let told = match (condition, dice.up_to(12)) {
            (Condition::NotRunning, 0) => {
                self.edge(dice, id, LifecycleEvent::Removed);
                self.containers.remove(id);
                return;
            }
            (Condition::NotRunning | Condition::Restarting, _) => return self.starts(id, dice),
            (Condition::Paused, 0..=5) => return self.turns(id, Condition::Healthy),
            (Condition::Paused, _) => None,
            (_, 0) => Some((LifecycleEvent::Paused, Some(Condition::Paused))),
            (_, 1) => Some((LifecycleEvent::Unhealthy, Some(Condition::Unhealthy))),
            (_, 2) => Some((LifecycleEvent::OutOfMemory, None)),
            (_, 3) => Some((LifecycleEvent::Signal(Signal(1)), None)),
            (_, 4) => Some((LifecycleEvent::Signal(Signal::TERM), None)),
            (_, 5) => {
                self.edge(dice, id, LifecycleEvent::Signal(Signal::KILL));
                Some((LifecycleEvent::Ended { exit_code: Some(137) }, Some(Condition::NotRunning)))
            }
            (_, 6) => Some((LifecycleEvent::Ended { exit_code: Some(0) }, Some(Condition::Restarting))),
            (_, 7) => return self.moves(id, dice),
            (_, 8) => {
                self.containers.get_mut(id).unwrap().models = models(dice);
                return;
            }
            (_, 9..) => return self.turns(id, Condition::Healthy),
        };
        if let Some((edge, condition)) = told {
            self.edge(dice, id, edge);
            self.turns(id, condition.unwrap_or(self.containers[id].container.condition));
        }
    }

    fn turns(&mut self, id: &ContainerId, condition: Condition) {
        let truth = self.containers.get_mut(id).unwrap();
        truth.container.condition = condition;
        let source = truth.source;
        self.look(source, id);
    }

    fn starts(&mut self, id: &ContainerId, dice: &mut Dice) {
        self.clock += 2;
        let reach = reach(dice);
        let truth = self.containers.get_mut(id).unwrap();
        truth.container.started_at = EngineTime(self.clock);
        truth.container.reach = reach;
        self.turns(id, Condition::Starting);
    }

    fn moves(&mut self, id: &ContainerId, dice: &mut Dice) {
        let before = match &self.containers[id].container.reach {
            Reach::At(addresses) => addresses.iter().collect(),
            Reach::Nowhere(_) => Vec::new(),
        };
        let (condition, reach) = (self.containers[id].container.condition, reach(dice));
        let stays = |ip: &IpAddr| matches!(&reach, Reach::At(now) if now.contains(*ip));
        let lost: Vec<_> = before.into_iter().filter(|ip| !stays(ip)).collect();
        match dice.up_to(4) {
            0 => {} // only the look shows it
            1 => self.edge(dice, id, LifecycleEvent::LeftNetwork(LostAddresses::All)),
            _ => self.edge(dice, id, LifecycleEvent::LeftNetwork(LostAddresses::These(lost))),
        }
        self.containers.get_mut(id).unwrap().container.reach = reach;
        self.turns(id, condition);
    }
}

fn models(dice: &mut Dice) -> Vec<&'static str> {
    let mut models: Vec<_> = MODELS.into_iter().filter(|_| dice.one_in(2)).collect();
    if models.is_empty() {
        models.push(MODELS[0]);
    }
    models
}

fn nowhere() -> Reach {
    Reach::Nowhere(Unreachable { theirs: vec!["other".to_owned()], ours: Vec::new(), other_project: None })
}

fn reach(dice: &mut Dice) -> Reach {
    match dice.up_to(9) as u8 {
        0 => nowhere(),
        first => {
            let others = (1..9).filter(|_| dice.one_in(4)).collect::<Vec<_>>();
            let all = std::iter::once(first).chain(others).map(|last| IpAddr::from([172, 20, 0, last]));
            Addresses::in_order(all).map_or_else(nowhere, Reach::At)
        }
    }
}
