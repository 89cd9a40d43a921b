//! Two containers, one model: the last to turn healthy serves, and the other takes over without a failed request.

use crate::scene::{Seen, Steady, Stream, warnings};
use engine_tests::{Engine, Mock, MockContainer, ProxyProcess, require_engine};
use std::time::Duration;

/// The one request that may be on its way to a container in the moment in which its process dies: its bytes were sent,
/// nobody can tell whether they were read, so it is not sent again.
const AT_ITS_DEATH: usize = 1;

/// Two replicas, of which the later one serves; and requests that run.
struct Pair {
    proxy: ProxyProcess,
    earlier: MockContainer,
    later: MockContainer,
    steady: Steady,
    model: String,
}

impl Pair {
    async fn start(engine: &Engine, on_term: &str) -> Self {
        let model = engine.unique("twice");
        let proxy = ProxyProcess::start().await;
        let mock = |name| Mock::serving(name, &[&model]).env("ON_TERM", on_term).stop_timeout(Duration::from_secs(10));
        let earlier = mock("earlier").start(engine).await;
        proxy.until_answered_by(&model, earlier.name()).await;
        let steady = Steady::begin(&proxy, &model);
        let later = mock("later").start(engine).await;
        proxy.until_answered_by(&model, later.name()).await;
        steady.more(5).await;
        Self { proxy, earlier, later, steady, model }
    }

    /// The other serves now, and at most so many requests failed.
    async fn taken_over(self, may_fail: usize) {
        self.proxy.until_answered_by(&self.model, self.earlier.name()).await;
        self.steady.more(10).await;
        let seen = self.steady.end().await;
        let failed: Vec<&Seen> = seen.iter().filter(|one| one.status != 200).collect();
        assert!(failed.len() <= may_fail, "{} of {} failed: {failed:?}", failed.len(), seen.len());
        assert!(failed.iter().all(|one| one.code == "backend_unreachable"), "{failed:?}");
        assert_eq!(seen.last().map(|one| one.mock.as_str()), Some(self.earlier.name()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_to_turn_healthy_wins_with_a_warning_that_names_both() {
    let engine = require_engine!();
    let pair = Pair::start(&engine, "exit").await;
    let told = warnings(&pair.proxy, pair.later.name(), pair.earlier.name());
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].to_string().contains(&pair.model), "{told:?}");
    let listed = pair.proxy.models().await;
    assert_eq!(listed.iter().filter(|id| **id == pair.model).count(), 1);
    pair.steady.end_without_a_failure().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_takes_over_when_the_winner_stops_after_its_work() {
    let engine = require_engine!();
    let pair = Pair::start(&engine, "finish").await;
    // Something is in flight, so that it is still there when the engine tells of the signal.
    let stream = Stream::begin(&pair.proxy, &pair.model, 20, 50).await;
    tokio::join!(pair.later.stop(None), stream.finish_whole());
    pair.taken_over(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_takes_over_when_the_winner_exits_at_once() {
    let engine = require_engine!();
    let pair = Pair::start(&engine, "exit").await;
    pair.later.stop(None).await;
    pair.taken_over(AT_ITS_DEATH).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_takes_over_when_the_winner_is_stopped_without_patience() {
    let engine = require_engine!();
    let pair = Pair::start(&engine, "ignore").await;
    pair.later.stop(Some(0)).await;
    pair.taken_over(AT_ITS_DEATH).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_takes_over_when_the_winner_crashes() {
    let engine = require_engine!();
    let pair = Pair::start(&engine, "exit").await;
    let _ = pair.later.get("/admin/crash").await;
    pair.taken_over(AT_ITS_DEATH).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_takes_over_when_the_winner_is_killed() {
    let engine = require_engine!();
    let pair = Pair::start(&engine, "exit").await;
    pair.later.kill("KILL").await;
    pair.taken_over(AT_ITS_DEATH).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_takes_over_when_the_winner_turns_unhealthy_or_is_paused() {
    let engine = require_engine!();
    let pair = Pair::start(&engine, "exit").await;
    pair.later.get("/admin/health?fail").await.unwrap();
    pair.proxy.until_answered_by(&pair.model, pair.earlier.name()).await;
    pair.later.get("/admin/health?ok").await.unwrap();
    pair.proxy.until_answered_by(&pair.model, pair.later.name()).await;
    pair.steady.more(3).await;
    pair.steady.end_without_a_failure().await;
    pair.later.pause().await;
    pair.proxy.until_answered_by(&pair.model, pair.earlier.name()).await;
    pair.later.unpause().await;
}
