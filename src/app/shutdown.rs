//! Stopping the proxy: not ready, no new connections, what is in flight finishes, the rest is cut.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::route_store::RouteStore;

/// The steps of a stop, each of which somebody waits for.
pub struct Stop {
    /// No new connections from here on.
    pub stop_accepting: CancellationToken,
    /// What is still in flight ends now.
    pub abort: CancellationToken,
    /// Nothing is in flight any more; the watching ends.
    pub finished: CancellationToken,
    signals: Mutex<Signals>,
    delay: Duration,
    drain_timeout: Duration,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// A stop at SIGTERM or SIGINT. A second signal ends everything at once.
    ///
    /// # Errors
    /// The system gives no way to hear signals.
    pub fn on_signals(delay: Duration, drain_timeout: Duration) -> io::Result<Self> {
        Ok(Self {
            stop_accepting: CancellationToken::new(),
            abort: CancellationToken::new(),
            finished: CancellationToken::new(),
            signals: Mutex::new(Signals::heard()?),
            delay,
            drain_timeout,
        })
    }

    /// Waits for the signal and takes the steps, each in its time. Ends when everything is over.
    pub async fn conduct(&self, routes: &Arc<RouteStore>) {
        let mut signals = self.signals.lock().await;
        let name = signals.next().await;
        routes.begin_stop();
        let timeout = self.drain_timeout;
        let message = "stopping: requests in flight may finish; another signal ends them";
        info!(signal = name, drain_timeout_s = timeout.as_secs_f32(), "{message}");
        let steps = async {
            tokio::time::sleep(self.delay).await;
            self.stop_accepting.cancel();
            tokio::select! {
                () = self.finished.cancelled() => {}
                () = tokio::time::sleep(timeout) => warn!("the drain deadline has come: requests in flight are cut"),
            }
        };
        tokio::select! {
            () = steps => {}
            name = signals.next() => warn!(signal = name, "stopping at once"),
        }
        self.stop_accepting.cancel();
        self.abort.cancel();
    }
}

/// A token that is cancelled at SIGTERM or SIGINT, for what has nothing to drain.
///
/// # Errors
/// The system gives no way to hear signals.
pub fn on_signal() -> io::Result<CancellationToken> {
    let mut signals = Signals::heard()?;
    let told = CancellationToken::new();
    let tell = told.clone();
    tokio::spawn(async move {
        signals.next().await;
        tell.cancel();
    });
    Ok(told)
}

impl Signals {
    fn heard() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
