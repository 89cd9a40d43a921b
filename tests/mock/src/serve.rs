//! The server: waits as told, listens, one thread per connection.

use crate::connection::Connection;
use crate::router;
use crate::settings::Settings;
use crate::signals;
use crate::state::{State, log};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Connections served at a time; more are closed at once.
const MAX_CONNECTIONS: usize = 4096;

/// Serves until a signal, a crash or an error ends it.
pub fn run(settings: Settings) -> Result<(), String> {
    let state = Arc::new(State::new(settings));
    signals::watch(Arc::clone(&state))?;
    if let Some(after) = state.settings.crash_after {
        std::thread::spawn(move || {
            std::thread::sleep(after);
            log("crashes as told");
            std::process::exit(1);
        });
    }
    std::thread::sleep(state.settings.listen_after);
    let address = (state.settings.bind.as_str(), state.settings.port);
    let listener =
        TcpListener::bind(address).map_err(|why| format!("cannot listen on {}:{}: {why}", address.0, address.1))?;
    log(&format!("listening on {}:{}", address.0, address.1));
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming().flatten() {
        if open.fetch_add(1, SeqCst) >= MAX_CONNECTIONS {
            open.fetch_sub(1, SeqCst);
            continue;
        }
        let (state, open) = (Arc::clone(&state), Arc::clone(&open));
        std::thread::spawn(move || {
            connection(&state, stream);
            open.fetch_sub(1, SeqCst);
        });
    }
    Ok(())
}

fn connection(state: &Arc<State>, stream: TcpStream) {
    state.connected();
    let Ok(mut connection) = Connection::new(stream, &state.settings.name) else {
        return;
    };
    while let Some(head) = connection.next(state.settings.idle_close) {
        if router::serve(state, &mut connection, head).is_err() {
            return;
        }
    }
}
