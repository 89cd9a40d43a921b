//! Signals: each one is logged; the stop signals do what `ON_TERM` says.

use crate::settings::OnTerm;
use crate::state::{State, log};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use std::sync::Arc;
use std::time::Duration;

const NAMES: [(&str, i32); 6] =
    [("HUP", SIGHUP), ("INT", SIGINT), ("QUIT", SIGQUIT), ("USR1", SIGUSR1), ("USR2", SIGUSR2), ("TERM", SIGTERM)];

/// How often a server that finishes its answers looks whether any is left.
const FINISH_POLL: Duration = Duration::from_millis(5);

/// The number of a signal that is written `TERM`, `SIGTERM` or `15`.
pub fn number(name: &str) -> Result<i32, String> {
    let bare = name.strip_prefix("SIG").unwrap_or(name);
    let named = NAMES.iter().find(|(known, _)| *known == bare);
    match (named, bare.parse()) {
        (Some((_, number)), _) => Ok(*number),
        (None, Ok(number)) => Ok(number),
        (None, Err(_)) => Err(format!("EXTRA_SIG: `{name}` is not a known signal")),
    }
}

/// Watches the signals from a thread of its own.
pub fn watch(state: Arc<State>) -> Result<(), String> {
    let mut wanted: Vec<i32> = NAMES.iter().map(|(_, number)| *number).collect();
    wanted.extend(&state.settings.extra_sig);
    let mut signals = Signals::new(wanted).map_err(|why| format!("signal handlers: {why}"))?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            log(&format!("signal {signal}"));
            let stops = [SIGTERM, SIGINT].contains(&signal) || state.settings.extra_sig.contains(&signal);
            if stops {
                stop(&state);
            }
        }
    });
    Ok(())
}

/// Ends the process at the first TERM or INT, for `mock sleep`.
pub fn exit_on_term() -> Result<(), String> {
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(|why| why.to_string())?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            std::process::exit(0);
        }
    });
    Ok(())
}

fn stop(state: &Arc<State>) {
    match state.settings.on_term {
        OnTerm::Ignore => log("ignores the signal"),
        OnTerm::Exit => leave(state),
        OnTerm::Finish => {
            let state = Arc::clone(state);
            std::thread::spawn(move || {
                log(&format!("finishes {} answers first", state.in_flight()));
                while state.in_flight() > 0 {
                    std::thread::sleep(FINISH_POLL);
                }
                leave(&state);
            });
        }
    }
}

fn leave(state: &State) {
    log(&format!("leaves with {}", state.settings.exit_code));
    std::process::exit(state.settings.exit_code);
}
