//! The state after every event in every state, without wildcards.

use super::*;

/// A state before the event.
#[derive(Debug, Clone, Copy)]
enum From {
    Unknown,
    Starting,
    Restarting,
    NoHealthcheck,
    BadLabel,
    NoAddress,
    LeftNetwork,
    Unhealthy,
    Paused,
    Discovering,
    Ready,
    Stopping,
    Ended,
    Removed,
}

const ALL: [From; 14] = [
    From::Unknown,
    From::Starting,
    From::Restarting,
    From::NoHealthcheck,
    From::BadLabel,
    From::NoAddress,
    From::LeftNetwork,
    From::Unhealthy,
    From::Paused,
    From::Discovering,
    From::Ready,
    From::Stopping,
    From::Ended,
    From::Removed,
];

impl From {
    fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Starting => "starting",
            Self::Restarting => "restarting",
            Self::NoHealthcheck => "no health check",
            Self::BadLabel => "bad label",
            Self::NoAddress => "no address",
            Self::LeftNetwork => "left network",
            Self::Unhealthy => "unhealthy",
            Self::Paused => "paused",
            Self::Discovering => "discovering",
            Self::Ready => "ready",
            Self::Stopping => "stopping",
            Self::Ended => "ended",
            Self::Removed => "removed",
        }
    }

    fn scene(self) -> Scene {
        let mut scene = Scene::new();
        let a = || container("a");
        match self {
            Self::Unknown => &mut scene,
            Self::Starting => scene.inspects(a().starting()),
            Self::Restarting => scene.inspects(a().is(Condition::Restarting)),
            Self::NoHealthcheck => scene.inspects(a().is(Condition::NoHealthcheck)),
            Self::BadLabel => scene.inspects(a().with_bad_port()),
            Self::NoAddress => scene.inspects(a().nowhere()),
            Self::LeftNetwork => scene.inspects(a()).lifecycle("a", left_all()),
            Self::Unhealthy => scene.inspects(a().unhealthy()),
            Self::Paused => scene.inspects(a().paused()),
            Self::Discovering => scene.inspects(a()),
            Self::Ready => scene.serving(a(), &["m"]),
            Self::Stopping => scene.serving(a(), &["m"]).signal("a", 15),
            Self::Ended => scene.serving(a(), &["m"]).dies("a"),
            Self::Removed => scene.serving(a(), &["m"]).lifecycle("a", LifecycleEvent::Removed),
        };
        assert_eq!(scene.state("a"), self.word(), "the way into {self:?}");
        scene
    }
}

/// Checks the effect of an event in each state. `next` returns the word for the next state.
fn after(event: &LifecycleEvent, next: impl Fn(From) -> &'static str) {
    for from in ALL {
        let mut scene = from.scene();
        let generation = scene.table.entries.get(&ContainerId::new("a")).map(|entry| entry.generation);
        scene.lifecycle("a", event.clone());
        assert_eq!(scene.state("a"), next(from), "{event:?} when {}", from.word());
        let serves = scene.request("m") == "served by a";
        assert_eq!(serves, scene.state("a") == "ready", "{event:?} when {}: claims and state agree", from.word());
        if let (Some(generation), true) = (generation, scene.state("a") != from.word()) {
            scene.lists_for(generation, "a", &["late"]);
            assert_eq!(scene.request("late"), "unknown", "{event:?} when {}: a late list counts", from.word());
        }
    }
}

#[test]
fn a_stop_signal_stops_whatever_runs() {
    for signal in [15, 9] {
        after(&LifecycleEvent::Signal(Signal(signal)), |from| match from {
            From::Unknown => "unknown",
            From::Starting | From::Restarting | From::NoHealthcheck | From::BadLabel | From::NoAddress => "stopping",
            From::LeftNetwork | From::Unhealthy | From::Paused | From::Discovering | From::Ready => "stopping",
            From::Stopping => "stopping",
            From::Ended => "ended",
            From::Removed => "removed",
        });
    }
}

#[test]
fn another_signal_and_a_new_name_change_nothing() {
    for event in [LifecycleEvent::Signal(Signal(1)), LifecycleEvent::Renamed("b".into())] {
        after(&event, From::word);
    }
}

#[test]
fn an_end_ends_whatever_there_is() {
    after(&LifecycleEvent::Ended { exit_code: None }, |from| match from {
        From::Unknown => "unknown",
        From::Starting | From::Restarting | From::NoHealthcheck | From::BadLabel | From::NoAddress => "ended",
        From::LeftNetwork | From::Unhealthy | From::Paused | From::Discovering | From::Ready => "ended",
        From::Stopping | From::Ended => "ended",
        From::Removed => "removed",
    });
}

#[test]
fn a_removal_removes_whatever_there_is() {
    after(&LifecycleEvent::Removed, |from| match from {
        From::Unknown => "unknown",
        From::Starting | From::Restarting | From::NoHealthcheck | From::BadLabel | From::NoAddress => "removed",
        From::LeftNetwork | From::Unhealthy | From::Paused | From::Discovering | From::Ready => "removed",
        From::Stopping | From::Ended | From::Removed => "removed",
    });
}

#[test]
fn a_pause_and_an_unhealthy_check_take_out_what_is_not_stopping_or_ended() {
    for (event, word) in [(LifecycleEvent::Paused, "paused"), (LifecycleEvent::Unhealthy, "unhealthy")] {
        after(&event, |from| match from {
            From::Unknown => "unknown",
            From::Starting | From::Restarting | From::NoHealthcheck | From::BadLabel | From::NoAddress => word,
            From::LeftNetwork | From::Unhealthy | From::Paused | From::Discovering | From::Ready => word,
            From::Stopping => "stopping",
            From::Ended => "ended",
            From::Removed => "removed",
        });
    }
}

#[test]
fn lost_addresses_take_out_only_what_uses_one_of_them() {
    let used = at_of(&container("a"));
    for (event, in_use) in [(left_all(), true), (left([used]), true), (left([[10, 9, 9, 9]]), false), (left([]), false)]
    {
        after(&event, |from| match from {
            From::Discovering | From::Ready if in_use => "left network",
            From::Unknown
            | From::Starting
            | From::Restarting
            | From::NoHealthcheck
            | From::BadLabel
            | From::NoAddress
            | From::LeftNetwork
            | From::Unhealthy
            | From::Paused
            | From::Discovering
            | From::Ready
            | From::Stopping
            | From::Ended
            | From::Removed => from.word(),
        });
    }
}

#[test]
fn a_kill_for_lack_of_memory_takes_a_serving_one_out() {
    after(&LifecycleEvent::OutOfMemory, |from| match from {
        From::Ready | From::Discovering => "out of memory",
        From::Unknown
        | From::Starting
        | From::Restarting
        | From::NoHealthcheck
        | From::BadLabel
        | From::NoAddress
        | From::LeftNetwork
        | From::Unhealthy
        | From::Paused
        | From::Stopping
        | From::Ended
        | From::Removed => from.word(),
    });
}
