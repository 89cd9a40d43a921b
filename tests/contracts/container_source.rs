//! What every container source must keep: one test per clause of the port's documentation.
//!
//! An implementation gives a [`Stage`], on which containers come and go, and names itself in
//! [`container_source_contract!`], with what it cannot show and why: those clauses are reported as ignored.
#![allow(dead_code)]

use std::sync::Arc;
use std::time::Duration;

use domain::container::{Condition, Container, ContainerEvent, ContainerId, LifecycleEvent, Reach};
use domain::labels;
use domain::signal::Signal;
use ports::container_source::ContainerSource;

use crate::heard::Heard;

/// How long nothing must come for it to count as silence.
const SILENCE: Duration = Duration::from_millis(300);

/// A place where containers run that one source watches.
#[allow(async_fn_in_trait)]
pub trait Stage: Sized {
    /// A fresh one, without containers, or why there can be none here.
    async fn set_up() -> Result<Self, String>;
    /// Says that a container of this name will run later: a source that is told where to look must be told before.
    fn expect(&mut self, _name: &str) {}
    /// The source that watches it.
    fn source(&self) -> Arc<dyn ContainerSource>;
    /// Starts a container with these labels and waits until it runs.
    async fn run(&mut self, name: &str, labels: &[(&str, &str)]) -> ContainerId;
    /// Waits until nothing runs any more for a stream that was dropped.
    async fn nothing_runs(&mut self);

    /// One whose source is not there yet; for `absence`.
    async fn set_up_absent() -> Self {
        unreachable!("declared as lacking")
    }
    /// Sends a container a signal that it ignores; for `signals`.
    async fn signal(&mut self, _id: &ContainerId, _signal: Signal) {
        unreachable!("declared as lacking")
    }
    /// Ends its process; for `ends`.
    async fn end(&mut self, _id: &ContainerId) {
        unreachable!("declared as lacking")
    }
    /// Starts it again after its end; for `ends`.
    async fn start_again(&mut self, _id: &ContainerId) {
        unreachable!("declared as lacking")
    }
    /// Freezes it, and thaws it; for `pauses`.
    async fn pause_and_resume(&mut self, _id: &ContainerId) {
        unreachable!("declared as lacking")
    }
    /// Removes it; for `removals`.
    async fn remove(&mut self, _id: &ContainerId) {
        unreachable!("declared as lacking")
    }
    /// Makes the source lost; for `losses`.
    async fn lose(&mut self) {
        unreachable!("declared as lacking")
    }
    /// Makes it come back, or come; for `losses` and `absence`.
    async fn find(&mut self) {
        unreachable!("declared as lacking")
    }
}

/// What not every source can show. A suite names each of them once, or does not compile.
pub struct Abilities {
    /// Containers have labels, which may be wrong.
    pub bad_labels: (),
    /// Signals are seen.
    pub signals: (),
    /// Ends are seen.
    pub ends: (),
    /// Pauses are seen.
    pub pauses: (),
    /// Signals, pauses and ends are seen, so that there is an order of them.
    pub order: (),
    /// Removals are seen.
    pub removals: (),
    /// The source can be away from the beginning.
    pub absence: (),
    /// The source can be lost.
    pub losses: (),
}

const OPTED_IN: &[(&str, &str)] = &[(labels::ENABLE, "true"), (labels::PORT, "9000")];

fn is_up(condition: Condition) -> bool {
    matches!(condition, Condition::Healthy | Condition::NoHealthcheck)
}

/// Waits until a look shows the container in service.
async fn until_up(heard: &mut Heard, id: &ContainerId) {
    heard.until(|event| matches!(event, ContainerEvent::Inspected(c) if c.id == *id && is_up(c.condition))).await;
}

pub async fn the_first_item_is_a_snapshot_also_of_nothing<S: Stage>(stage: S) {
    let mut heard = Heard::new(stage.source().watch());
    assert!(heard.snapshot().await.is_empty());
}

pub async fn the_snapshot_shows_what_runs_already<S: Stage>(mut stage: S) {
    let id = stage.run("first", OPTED_IN).await;
    let mut heard = Heard::new(stage.source().watch());
    let all = heard.snapshot().await;
    let container = &all[&id];
    assert!(container.name.contains("first"), "{}", container.name);
    assert!(is_up(container.condition), "{:?}", container.condition);
    assert_eq!(container.labels.as_ref().map(|labels| labels.port), Ok(9000));
    assert!(container.started_at.0 > 0);
    assert!(matches!(container.reach, Reach::At(_)), "{:?}", container.reach);
}

/// What only seems to be meant to opt in may be shown, as a label that is wrong.
pub async fn only_containers_that_opted_in_are_shown<S: Stage>(mut stage: S) {
    let misread = |container: &Container| {
        container.labels.as_ref().is_err_and(|error| error.label == labels::ENABLE) && !container.name.ends_with("no")
    };
    for (name, value) in [("no", "false"), ("loud", "True"), ("one", "1")] {
        stage.run(name, &[(labels::ENABLE, value)]).await;
    }
    stage.run("bare", &[]).await;
    stage.expect("wanted");
    let mut heard = Heard::new(stage.source().watch());
    let strange = |name: &str| ["no", "loud", "one", "bare"].iter().any(|strange| name.ends_with(strange));
    assert!(!heard.snapshot().await.values().any(|container| strange(&container.name) && !misread(container)));
    stage.run("late", &[(labels::ENABLE, "yes")]).await;
    let wanted = stage.run("wanted", OPTED_IN).await;
    until_up(&mut heard, &wanted).await;
    let strangers =
        heard.all.iter().filter(|event| matches!(event, ContainerEvent::Inspected(c) if c.id != wanted && !misread(c)));
    assert_eq!(strangers.count(), 0);
}

pub async fn bad_labels_come_as_what_is_wrong_with_them<S: Stage>(mut stage: S) {
    let id = stage.run("odd", &[(labels::ENABLE, "true"), (labels::PORT, "many")]).await;
    let mut heard = Heard::new(stage.source().watch());
    let all = heard.snapshot().await;
    assert_eq!(all[&id].labels.as_ref().map_err(|error| error.label), Err(labels::PORT));
}

pub async fn what_comes_after_the_snapshot_is_told<S: Stage>(mut stage: S) {
    stage.expect("late");
    let mut heard = Heard::new(stage.source().watch());
    heard.snapshot().await;
    let id = stage.run("late", OPTED_IN).await;
    until_up(&mut heard, &id).await;
}

pub async fn a_signal_is_an_edge<S: Stage>(mut stage: S) {
    let id = stage.run("one", OPTED_IN).await;
    let mut heard = Heard::new(stage.source().watch());
    heard.snapshot().await;
    stage.signal(&id, Signal(1)).await;
    assert_eq!(heard.until_edge(&id).await, LifecycleEvent::Signal(Signal(1)));
}

pub async fn an_end_is_an_edge_and_the_next_run_has_a_later_start<S: Stage>(mut stage: S) {
    let id = stage.run("one", OPTED_IN).await;
    let mut heard = Heard::new(stage.source().watch());
    let before = heard.snapshot().await[&id].started_at;
    stage.end(&id).await;
    heard
        .until(|event| matches!(event, ContainerEvent::Lifecycle { id: of, event: LifecycleEvent::Ended { .. }, .. } if *of == id))
        .await;
    heard.until_condition(&id, Condition::NotRunning).await;
    stage.start_again(&id).await;
    let again =
        heard.until(|event| matches!(event, ContainerEvent::Inspected(c) if c.id == id && is_up(c.condition))).await;
    assert!(matches!(again, ContainerEvent::Inspected(c) if c.started_at > before));
}

pub async fn a_pause_is_an_edge_and_the_last_look_shows_it_over<S: Stage>(mut stage: S) {
    let id = stage.run("one", OPTED_IN).await;
    let mut heard = Heard::new(stage.source().watch());
    heard.snapshot().await;
    stage.pause_and_resume(&id).await;
    assert_eq!(heard.until_edge(&id).await, LifecycleEvent::Paused);
    until_up(&mut heard, &id).await;
}

pub async fn a_removal_is_an_edge<S: Stage>(mut stage: S) {
    let id = stage.run("one", OPTED_IN).await;
    let mut heard = Heard::new(stage.source().watch());
    heard.snapshot().await;
    stage.remove(&id).await;
    heard.until(|event| matches!(event, ContainerEvent::Lifecycle { id: of, event: LifecycleEvent::Removed, .. } if *of == id)).await;
}

pub async fn edges_have_times_that_do_not_go_back<S: Stage>(mut stage: S) {
    let id = stage.run("one", OPTED_IN).await;
    let mut heard = Heard::new(stage.source().watch());
    let mut last = heard.snapshot().await[&id].started_at;
    stage.signal(&id, Signal(1)).await;
    stage.pause_and_resume(&id).await;
    stage.end(&id).await;
    let ended = |event: &ContainerEvent| matches!(event, ContainerEvent::Lifecycle { id: of, event: LifecycleEvent::Ended { .. }, .. } if *of == id);
    heard.until(ended).await;
    for event in &heard.all {
        if let ContainerEvent::Lifecycle { id: of, at, .. } = event
            && *of == id
        {
            assert!(*at >= last, "{event:?} is older than {last:?}");
            last = *at;
        }
    }
}

pub async fn a_look_that_is_asked_for_comes<S: Stage>(mut stage: S) {
    let id = stage.run("one", OPTED_IN).await;
    let source = stage.source();
    let mut heard = Heard::new(source.watch());
    heard.snapshot().await;
    source.refresh(&id);
    heard.until_observed(&id).await;
}

pub async fn a_look_at_what_is_gone_is_a_removal<S: Stage>(mut stage: S) {
    stage.expect("one");
    let source = stage.source();
    let mut heard = Heard::new(source.watch());
    heard.snapshot().await;
    let unknown = ContainerId::new("0".repeat(64));
    source.refresh(&unknown);
    assert_eq!(heard.until_edge(&unknown).await, LifecycleEvent::Removed);
    let id = stage.run("one", OPTED_IN).await;
    until_up(&mut heard, &id).await;
}

pub async fn a_source_that_is_not_there_is_lost_once_and_then_tells_a_snapshot<S: Stage>(_: S) {
    let mut stage = S::set_up_absent().await;
    let mut heard = Heard::new(stage.source().watch());
    let ContainerEvent::Disconnected(reason) = heard.next().await else { panic!("not lost: {:?}", heard.all) };
    assert!(!reason.is_empty());
    if let Err(event) = heard.silent_for(SILENCE).await {
        panic!("told again: {event:?}");
    }
    stage.find().await;
    assert!(heard.snapshot().await.is_empty());
}

pub async fn a_loss_is_told_and_followed_by_a_snapshot_of_the_truth<S: Stage>(mut stage: S) {
    let stays = stage.run("stays", OPTED_IN).await;
    let mut heard = Heard::new(stage.source().watch());
    heard.snapshot().await;
    stage.lose().await;
    heard.until_lost().await;
    let comes = stage.run("comes", OPTED_IN).await;
    stage.find().await;
    let all = heard.until_snapshot().await;
    assert_eq!(
        all.keys().collect::<Vec<_>>(),
        [&stays, &comes].into_iter().collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    );
    let between = heard.all.iter().skip_while(|event| !matches!(event, ContainerEvent::Disconnected(_)));
    // Edges may come before it: they take containers out of service, and wait for nothing.
    let looks = between.filter(|event| matches!(event, ContainerEvent::Inspected(_)));
    assert_eq!(looks.count(), 0, "no look before the snapshot: {:#?}", heard.all);
}

pub async fn dropping_the_stream_ends_what_was_started_for_it<S: Stage>(mut stage: S) {
    let source = stage.source();
    let mut heard = Heard::new(source.watch());
    heard.snapshot().await;
    drop(heard);
    tokio::time::timeout(crate::heard::PATIENCE, stage.nothing_runs()).await.expect("all of it ends");
    let mut again = Heard::new(source.watch());
    again.snapshot().await;
}

/// Makes the suite of an implementation: a module with one test per clause, for a type that is a [`Stage`]. What cannot be
/// shown is told with its reason, and what can be is told as well: `shows [signals …], lacks [pauses: "why", …]`. The tests
/// of what is lacking are there and ignored. Without both, everything can be shown.
#[macro_export]
macro_rules! container_source_contract {
    ($name:ident, $stage:ty) => {
        $crate::container_source_contract!($name, $stage,
            shows [bad_labels signals ends pauses order removals absence losses], lacks []);
    };
    ($name:ident, $stage:ty, shows [$($shown:ident)*], lacks [$($lacking:ident: $why:literal),* $(,)?]) => {
        mod $name {
            use $crate::contract::Stage as _;
            const _: $crate::contract::Abilities = $crate::contract::Abilities { $($shown: (),)* $($lacking: (),)* };
            $crate::container_source_contract!(@tests $stage:
                the_first_item_is_a_snapshot_also_of_nothing
                the_snapshot_shows_what_runs_already
                only_containers_that_opted_in_are_shown
                what_comes_after_the_snapshot_is_told
                a_look_that_is_asked_for_comes
                a_look_at_what_is_gone_is_a_removal
                dropping_the_stream_ends_what_was_started_for_it
            );
            $($crate::container_source_contract!(@clauses_of $shown @tests $stage);)*
            $($crate::container_source_contract!(@clauses_of $lacking @ignored $why);)*
        }
    };
    (@clauses_of bad_labels @$kind:ident $with:tt) => {
        $crate::container_source_contract!(@$kind $with: bad_labels_come_as_what_is_wrong_with_them);
    };
    (@clauses_of signals @$kind:ident $with:tt) => {
        $crate::container_source_contract!(@$kind $with: a_signal_is_an_edge);
    };
    (@clauses_of ends @$kind:ident $with:tt) => {
        $crate::container_source_contract!(@$kind $with: an_end_is_an_edge_and_the_next_run_has_a_later_start);
    };
    (@clauses_of pauses @$kind:ident $with:tt) => {
        $crate::container_source_contract!(@$kind $with: a_pause_is_an_edge_and_the_last_look_shows_it_over);
    };
    (@clauses_of order @$kind:ident $with:tt) => {
        $crate::container_source_contract!(@$kind $with: edges_have_times_that_do_not_go_back);
    };
    (@clauses_of removals @$kind:ident $with:tt) => {
        $crate::container_source_contract!(@$kind $with: a_removal_is_an_edge);
    };
    (@clauses_of absence @$kind:ident $with:tt) => {
        $crate::container_source_contract!(@$kind $with:
            a_source_that_is_not_there_is_lost_once_and_then_tells_a_snapshot);
    };
    (@clauses_of losses @$kind:ident $with:tt) => {
        $crate::container_source_contract!(@$kind $with: a_loss_is_told_and_followed_by_a_snapshot_of_the_truth);
    };
    (@tests $stage:ty: $($clause:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $clause() {
                match <$stage>::set_up().await {
                    Ok(stage) => $crate::contract::$clause(stage).await,
                    Err(why) => $crate::not_run(stringify!($clause), &why),
                }
            }
        )*
    };
    (@ignored $why:literal: $($clause:ident)*) => {
        $(
            #[test]
            #[ignore = $why]
            fn $clause() {}
        )*
    };
}
