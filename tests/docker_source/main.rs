//! Docker's container source against an engine of our own that misbehaves in every way known of real ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/fake_engine/mod.rs"]
mod fake_engine;
#[path = "../support/heard.rs"]
mod heard;

mod away;
mod before;
mod load;
mod races;
mod slow;
mod stream;
mod told;

use std::time::{Duration, Instant};

use domain::container::{Condition, ContainerId};
use fake_engine::FakeEngine;
use heard::{Heard, PATIENCE};
use lw_inference_proxy::adapters::docker::{DockerSettings, DockerSource};
use ports::container_source::ContainerSource;

const OPTED_IN: &[(&str, &str)] = &[("inference.enable", "true")];

fn source(settings: DockerSettings) -> DockerSource {
    DockerSource::new(settings).unwrap()
}

fn watch(engine: &FakeEngine) -> Heard {
    Heard::new(source(engine.settings()).watch())
}

/// A listener on an engine with one healthy container, after the snapshot.
async fn with_one(engine: &FakeEngine) -> (Heard, ContainerId) {
    let id = engine.add("llm", OPTED_IN, Some("healthy"));
    let mut heard = watch(engine);
    assert_eq!(heard.snapshot().await[&id].condition, Condition::Healthy);
    (heard, id)
}

/// Has an event make a look at this container, which has read what there is to read and does not answer until it is
/// released. Says how many looks there were before it.
async fn held_look(engine: &FakeEngine, id: &ContainerId, event: &str) -> usize {
    let looks = engine.inspects_of(id);
    engine.hold_inspects(id);
    engine.event(id, event, &[]);
    wait_until("the look begins", || engine.inspects_of(id) > looks).await;
    looks
}

/// Waits until the test passes, and panics if it takes too long.
async fn wait_until(what: &str, mut test: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !test() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
