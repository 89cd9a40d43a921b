//! The end of the process, at real signals to this process: they are what the application listens to.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use lw_inference_proxy_app::shutdown::Stop;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::stage::Stage;

/// A signal reaches every test of this process, so these run one after another.
static ALONE: Mutex<()> = Mutex::const_new(());

const DELAY: Duration = Duration::from_secs(5);
const DRAIN: Duration = Duration::from_secs(60);

/// How long a signal may take.
const SIGNAL_BOUND: std::time::Duration = std::time::Duration::from_secs(10);

async fn begin(stage: &Stage) -> (Arc<Stop>, JoinHandle<()>) {
    stage.sees(Vec::new());
    stage.settle().await;
    assert!(stage.routes.is_ready());
    let stop = Arc::new(Stop::on_signals(DELAY, DRAIN).unwrap());
    let (conducted, routes) = (Arc::clone(&stop), Arc::clone(&stage.routes));
    let task = tokio::spawn(async move { conducted.conduct(&routes).await });
    stage.settle().await;
    signal("-TERM");
    until(|| stage.routes.is_stopping()).await;
    (stop, task)
}

/// Waits for what a real signal brings about. The clock of the runtime is paused, so the bound is one of real time.
async fn until(holds: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < SIGNAL_BOUND, "the signal has no effect");
        tokio::task::yield_now().await;
    }
}

fn signal(name: &str) {
    let pid = std::process::id().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
}

#[tokio::test(start_paused = true)]
async fn the_proxy_is_not_ready_before_it_stops_accepting_and_aborts_last() {
    let _alone = ALONE.lock().await;
    let stage = Stage::start();
    let (stop, task) = begin(&stage).await;
    assert!(!stage.routes.is_ready() && stage.routes.has_settled());
    assert!(!stop.stop_accepting.is_cancelled());
    stage.pass(DELAY + Duration::from_millis(10)).await;
    assert!(stop.stop_accepting.is_cancelled() && !stop.abort.is_cancelled());
    stop.finished.cancel();
    task.await.unwrap();
    assert!(stop.abort.is_cancelled());
    assert!(stage.elapsed() < DELAY + Duration::from_secs(1), "it does not wait for the drain timeout");
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_at_the_drain_timeout_is_aborted() {
    let _alone = ALONE.lock().await;
    let stage = Stage::start();
    let (stop, task) = begin(&stage).await;
    stage.pass(DELAY + DRAIN - Duration::from_secs(1)).await;
    assert!(!stop.abort.is_cancelled());
    task.await.unwrap();
    assert!(stop.abort.is_cancelled() && !stop.finished.is_cancelled());
    assert_eq!(stage.elapsed().as_secs(), (DELAY + DRAIN).as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_aborts_at_once() {
    let _alone = ALONE.lock().await;
    let stage = Stage::start();
    let (stop, task) = begin(&stage).await;
    signal("-INT");
    until(|| stop.abort.is_cancelled()).await;
    task.await.unwrap();
    assert!(stop.stop_accepting.is_cancelled());
    assert!(stage.elapsed() < DELAY);
}
