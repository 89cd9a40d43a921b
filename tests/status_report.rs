//! The status report: for each reason why a container serves or does not, one sentence that says it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "status_report/ends.rs"]
mod ends;
#[path = "status_report/limits.rs"]
mod limits;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use app::status::{ContainerLine, Phase, Report, Severity, SourceLine, Standing, report, span};
use domain::container::{
    Condition, Container, ContainerEvent, ContainerId, EngineTime, LifecycleEvent, Reach, Uninspected, Unreachable,
};
use domain::drain::DrainPolicy;
use domain::labels;
use domain::signal::Signal;
use domain::table::{RoutingTable, SourceId, State, TableEvent, TableRules};
use testkit::container::ContainerBuilder;

/// A table, and its clock.
struct Scene {
    table: RoutingTable<()>,
    now: Instant,
}

fn container(name: &str, condition: Condition) -> Container {
    let container = ContainerBuilder::new(name).at([[172, 20, 0, 3].into()]).condition(condition).build();
    Container { stop_timeout: Some(Duration::from_secs(90)), ..container }
}

impl Scene {
    fn of(containers: impl IntoIterator<Item = Container>) -> Self {
        let drain = DrainPolicy { timeout: Duration::from_secs(60), readmit_after: Duration::from_secs(300) };
        let table = RoutingTable::new(TableRules {
            drain,
            refresh_every: Duration::from_secs(30),
            replicas: Default::default(),
            balance: Default::default(),
        });
        let mut scene = Self { table, now: Instant::now() };
        scene.apply(TableEvent::Source(
            SourceId(0),
            ContainerEvent::Snapshot(containers.into_iter().collect::<Vec<_>>().into()),
        ));
        scene
    }

    fn apply(&mut self, event: TableEvent<()>) {
        let rules = *self.table.rules();
        let table = std::mem::replace(&mut self.table, RoutingTable::new(rules));
        self.table = table.apply(event, self.now).0;
    }

    fn edge(&mut self, id: &str, edge: LifecycleEvent) {
        let (id, at) = (ContainerId::new(id), EngineTime(2));
        self.apply(TableEvent::Source(SourceId(0), ContainerEvent::Lifecycle { id, at, event: edge }));
    }

    fn lists(&mut self, id: &str, models: &[&str]) {
        let container = ContainerId::new(id);
        let entry = self.table.entries().find(|(of, _)| **of == container).unwrap().1;
        let Reach::At(addresses) = &entry.container.reach else { panic!("nowhere") };
        let (generation, address) = (entry.generation, (addresses.first(), 8000).into());
        let models = models.iter().map(|id| ((*id).to_owned(), Arc::from("{}"))).collect();
        self.apply(TableEvent::Discovered { container, generation, address, models, link: () });
    }

    fn lists_again(&mut self, id: &str, models: &[&str]) {
        let container = ContainerId::new(id);
        let generation = self.table.entries().find(|(of, _)| **of == container).unwrap().1.generation;
        let models = models.iter().map(|id| ((*id).to_owned(), Arc::from("{}"))).collect();
        self.apply(TableEvent::Refreshed { container, generation, models });
    }

    fn fails(&mut self, id: &str, failure: &str) {
        let container = ContainerId::new(id);
        let generation = self.table.entries().find(|(of, _)| **of == container).unwrap().1.generation;
        self.apply(TableEvent::DiscoveryFailed { container, generation, failure: failure.into(), unreachable: false });
    }

    fn enters(&self, id: &str) {
        let id = ContainerId::new(id);
        let entry = self.table.entries().find(|(of, _)| **of == id).unwrap().1;
        let State::Ready(ready) = &entry.state else { panic!("not ready") };
        assert!(ready.backend.gate.try_enter());
    }

    /// The last requests of what went out of service are over.
    fn drains(&mut self) {
        for registration in self.table.draining().iter().map(|it| it.backend.registration).collect::<Vec<_>>() {
            self.apply(TableEvent::DrainFinished(registration));
        }
    }

    fn later(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn report(&self) -> Report {
        report(&self.table, Standing { phase: Phase::Ready, sources: Vec::new(), now_millis: 0 }, self.now)
    }

    fn only(&self) -> ContainerLine {
        let [line] = self.report().containers.try_into().unwrap();
        line
    }
}

/// The one container that is in this condition.
fn seen(condition: Condition, change: impl FnOnce(&mut Container)) -> ContainerLine {
    let mut one = container("one", condition);
    change(&mut one);
    Scene::of([one]).only()
}

#[test]
fn one_that_serves() {
    let mut scene = Scene::of([container("one", Condition::Healthy)]);
    scene.lists("one", &["a", "b"]);
    scene.enters("one");
    scene.later(12);
    let line = scene.only();
    assert_eq!((line.level, line.state.as_str(), line.line.as_str()), (Severity::Good, "ready", "serves 2 models"));
    assert_eq!(
        (line.in_flight, line.since, line.address.as_deref()),
        (1, Duration::from_secs(12), Some("172.20.0.3:8000"))
    );
    assert_eq!(line.notes, Vec::<String>::new());
    let models = scene.report().models;
    assert_eq!(models.iter().map(|line| line.model.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(
        (models[0].in_flight, models[0].container.as_str(), models[0].since),
        (1, "one", Duration::from_secs(12))
    );
    assert!(scene.report().is_well());
}

#[test]
fn one_without_a_health_check() {
    let line = seen(Condition::NoHealthcheck, |_| {});
    assert_eq!((line.level, line.state.as_str()), (Severity::Wrong, "no healthcheck"));
    assert!(line.line.contains("HEALTHCHECK") && line.line.contains("healthcheck: {test:"), "{}", line.line);
}

#[test]
fn one_that_is_still_starting_says_for_how_long_and_what_its_health_check_said() {
    let mut one = container("one", Condition::Starting);
    one.health_output = Some("curl: (7)\n\tFailed to connect\u{1b}[0m ".into());
    let mut scene = Scene::of([one]);
    scene.later(42);
    let line = scene.only();
    assert_eq!((line.level, line.state.as_str()), (Severity::Waiting, "starting"));
    let said =
        "its health check has not passed yet, for 42 s; its health check last said: curl: (7) Failed to connect[0m";
    assert_eq!(line.line, said);
    assert!(scene.report().is_well(), "starting is not a fault");
}

#[test]
fn one_that_is_unhealthy_says_what_its_health_check_said_and_not_all_of_it() {
    let line = seen(Condition::Unhealthy, |one| one.health_output = Some("boom ".repeat(500).into()));
    assert_eq!((line.level, line.state.as_str()), (Severity::Wrong, "unhealthy"));
    assert!(line.line.contains("boom boom") && line.line.ends_with('…') && line.line.len() < 500, "{}", line.line);
}

#[test]
fn one_on_no_common_network_says_its_networks_and_ours() {
    let line = seen(Condition::Healthy, |one| {
        let theirs = vec!["other (10.9.0.2/16)".to_owned()];
        one.reach = Reach::Nowhere(Unreachable { theirs, ours: vec!["172.20.0.2/16".to_owned()], other_project: None });
    });
    assert_eq!((line.level, line.state.as_str()), (Severity::Wrong, "no network"));
    assert!(line.line.contains("other (10.9.0.2/16)") && line.line.contains("172.20.0.2/16"), "{}", line.line);
}

#[test]
fn one_with_a_label_that_cannot_be_read_says_which() {
    let line = seen(Condition::Healthy, |one| {
        one.labels = labels::parse(|name| (name == labels::PORT).then_some("80a"));
    });
    assert_eq!((line.level, line.state.as_str()), (Severity::Wrong, "bad label"));
    assert!(line.line.contains("inference.port") && line.line.contains("80a"), "{}", line.line);
}

#[test]
fn one_that_is_being_asked() {
    let line = seen(Condition::Healthy, |_| {});
    assert_eq!((line.level, line.state.as_str()), (Severity::Waiting, "asked"));
}

#[test]
fn one_whose_models_cannot_be_learnt_says_why_and_what_to_do() {
    for (failure, hint) in [
        ("GET http://172.20.0.3:8000/v1/models: the connection was refused", "nothing listens on port 8000"),
        ("GET http://172.20.0.3:8000/v1/models: it responded with status 404", "inference.api.base_path"),
        ("GET http://172.20.0.3:8000/v1/models: it responded with status 401", "asks for a key"),
        ("GET http://172.20.0.3:8000/v1/models: no response within 5 s", "no response within 5 s"),
        ("GET http://172.20.0.3:8000/v1/models: it lists no model", "it lists no model"),
    ] {
        let mut scene = Scene::of([container("one", Condition::Healthy)]);
        scene.fails("one", failure);
        let line = scene.only();
        assert_eq!((line.level, line.state.as_str()), (Severity::Wrong, "no models"));
        assert!(line.line.contains(failure) && line.line.contains(hint), "{}", line.line);
        assert!(!scene.report().is_well());
    }
}

#[test]
fn one_that_is_displaced_says_by_whom() {
    let mut scene = Scene::of([container("old", Condition::Healthy)]);
    scene.lists("old", &["a", "b"]);
    let mut new = container("new", Condition::Healthy);
    new.reach = Reach::At(IpAddr::from([172, 20, 0, 4]).into());
    scene.apply(TableEvent::Source(SourceId(0), ContainerEvent::Inspected(new)));
    scene.lists("new", &["a"]);
    let old = scene.report().containers.into_iter().find(|line| line.name == "old").unwrap();
    assert_eq!((old.level, old.line.as_str()), (Severity::Good, "serves 1 of its 2 models"));
    assert_eq!(old.notes, ["a is served by new, which became healthy later"]);
    let a = scene.report().models.into_iter().find(|line| line.model == "a").unwrap();
    assert_eq!((a.container.as_str(), a.behind), ("new", vec!["old".to_owned()]));
}

#[test]
fn one_that_is_displaced_altogether_is_not_called_ready() {
    let mut scene = Scene::of([container("old", Condition::Healthy), container("young", Condition::Healthy)]);
    scene.lists("old", &["a"]);
    scene.lists("young", &["a"]);
    let states: Vec<_> = scene.report().containers.into_iter().map(|line| line.state).collect();
    assert_eq!(states, ["displaced", "ready"], "what needs a person would come first, and what waits next");
}

#[test]
fn one_that_drains_says_why_and_how_long_it_still_may() {
    let mut scene = Scene::of([container("one", Condition::Healthy)]);
    scene.lists("one", &["a"]);
    scene.enters("one");
    scene.edge("one", LifecycleEvent::Signal(Signal::TERM));
    scene.later(15);
    let line = scene.only();
    assert_eq!((line.level, line.state.as_str(), line.in_flight), (Severity::Waiting, "draining", 1));
    assert_eq!(line.line, "draining: it was sent SIGTERM; 1 request in flight, 45 s left");
    assert_eq!(line.models, ["a"]);
}

#[test]
fn one_that_turned_unhealthy_and_drains_says_both() {
    let mut scene = Scene::of([container("one", Condition::Healthy)]);
    scene.lists("one", &["a"]);
    scene.enters("one");
    scene.edge("one", LifecycleEvent::Unhealthy);
    let line = scene.only();
    assert_eq!((line.level, line.state.as_str()), (Severity::Wrong, "draining"));
    assert!(line.line.contains("1 request in flight") && line.line.contains("its health check fails"), "{}", line.line);
}

#[test]
fn one_that_drains_and_is_gone_is_still_shown_and_one_that_is_gone_is_not() {
    let mut scene = Scene::of([container("one", Condition::Healthy)]);
    scene.lists("one", &["a"]);
    scene.enters("one");
    scene.edge("one", LifecycleEvent::Removed);
    assert_eq!(scene.only().state, "draining");
    let mut scene = Scene::of([container("one", Condition::Healthy)]);
    scene.edge("one", LifecycleEvent::Removed);
    assert_eq!(scene.report().containers, []);
}

#[test]
fn one_that_is_paused_stopping_restarting_or_ended() {
    for (condition, state) in
        [(Condition::Paused, "paused"), (Condition::Stopping, "stopping"), (Condition::Restarting, "restarting")]
    {
        let line = seen(condition, |_| {});
        assert_eq!((line.level, line.state.as_str()), (Severity::Waiting, state));
    }
    let line = seen(Condition::NotRunning, |_| {});
    assert_eq!((line.level, line.state.as_str()), (Severity::Off, "ended"));
}

#[test]
fn a_stop_that_is_shorter_than_a_drain_is_noted_and_is_no_fault() {
    let mut one = container("one", Condition::Healthy);
    one.stop_timeout = Some(Duration::from_secs(10));
    let mut scene = Scene::of([one]);
    scene.lists("one", &["a"]);
    let notes = scene.only().notes;
    let said =
        "its stop_grace_period is 10 s: docker stop kills it before a drain of up to 60 s ends; set 60 s or more";
    assert_eq!(notes, [said]);
    assert!(scene.report().is_well());
}

#[test]
fn a_health_check_that_costs_seconds_is_noted() {
    let line = seen(Condition::Healthy, |one| one.health_check_took = Some(Duration::from_millis(3200)));
    assert_eq!(line.notes, ["its health check took 3 s: a lighter one would be known sooner"]);
}

#[test]
fn an_id_that_is_no_name_is_noted() {
    let mut scene = Scene::of([container("one", Condition::Healthy)]);
    scene.lists("one", &["a", ""]);
    let notes = scene.only().notes;
    assert!(notes.len() == 1 && notes[0].contains("cannot be used as a model's name: \"\""), "{notes:?}");
    let long = format!("b\u{202e}\n{}", "x".repeat(400));
    scene.lists_again("one", &["a", &long]);
    let notes = scene.only().notes;
    assert!(notes.len() == 1 && notes[0].contains("b\\u{202e}\\nxxx") && notes[0].len() < 250, "{notes:?}");
}

#[test]
fn a_source_out_of_sight_is_not_well_and_neither_is_a_proxy_that_is_not_ready() {
    let scene = Scene::of([]);
    let lost = vec![SourceLine { name: "docker".into(), lost: Some("no socket".into()) }];
    assert!(!report(&scene.table, Standing { phase: Phase::Ready, sources: lost, now_millis: 0 }, scene.now).is_well());
    assert!(
        !report(&scene.table, Standing { phase: Phase::Starting, sources: Vec::new(), now_millis: 0 }, scene.now)
            .is_well()
    );
    assert!(scene.report().is_well());
}

#[test]
fn that_there_is_no_container_is_said_only_where_all_were_seen() {
    let scene = Scene::of([]);
    let said = |phase, lost: Option<&str>| {
        let sources = vec![SourceLine { name: "docker".into(), lost: lost.map(str::to_owned) }];
        report(&scene.table, Standing { phase, sources, now_millis: 0 }, scene.now).no_container()
    };
    assert!(said(Phase::Ready, None).contains("inference.enable=true"));
    for unknown in [said(Phase::Ready, Some("no socket")), said(Phase::Starting, None)] {
        assert_eq!(unknown, "No container has been seen yet.");
    }
}

#[test]
fn times_are_said_as_people_say_them() {
    for (millis, said) in [
        (0, "0 s"),
        (400, "0.4 s"),
        (12_300, "12 s"),
        (119_000, "119 s"),
        (180_000, "3 min"),
        (7_500_000, "2 h 5 min"),
        (266_400_000, "3 d 2 h"),
    ] {
        assert_eq!(span(Duration::from_millis(millis)), said);
    }
}

#[test]
fn one_that_cannot_be_inspected() {
    let mut scene = Scene::of([container("one", Condition::Healthy)]);
    scene.lists("one", &["a"]);
    for name in ["one", "new"] {
        let (id, why) = (ContainerId::new(name), Arc::from("the engine does not answer"));
        let hidden = Uninspected { id, name: name.into(), why };
        scene.apply(TableEvent::Source(SourceId(0), ContainerEvent::InspectionFailed(hidden)));
    }
    let report = scene.report();
    let [new, one] = &report.containers[..] else { panic!("{:?}", report.containers) };
    assert_eq!((new.name.as_str(), new.level, new.state.as_str()), ("new", Severity::Wrong, "not inspected"));
    assert!(new.line.contains("the engine does not answer"), "{}", new.line);
    assert_eq!((one.level, one.state.as_str()), (Severity::Good, "ready"));
    assert!(
        one.notes[0].contains("cannot be inspected") && one.notes[0].contains("does not answer"),
        "{:?}",
        one.notes
    );
    assert!(!report.is_well());
}

#[test]
fn a_stop_timeout_that_is_not_known_is_not_guessed() {
    let mut one = container("one", Condition::Healthy);
    one.stop_timeout = None;
    let mut scene = Scene::of([one]);
    scene.lists("one", &["a"]);
    let notes = scene.only().notes;
    assert!(notes.iter().all(|note| !note.contains("10 s")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("is not known")), "{notes:?}");
}
