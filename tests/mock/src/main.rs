//! A small inference server for tests: `mock`, `mock healthcheck`, `mock get HOST:PORT PATH`, `mock sleep SECONDS`.

mod admin;
mod anthropic;
mod client;
mod connection;
mod echo;
mod generate;
mod json;
mod openai;
mod request;
mod router;
mod serve;
mod settings;
mod sha1;
mod signals;
mod state;
mod websocket;

use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [] | ["serve"] => settings::Settings::from_env().and_then(serve::run),
        ["healthcheck"] => settings::Settings::from_env().and_then(|s| client::healthcheck(&s)),
        ["get", authority, path] => client::get(authority, path).map(|answer| print!("{answer}")),
        ["sleep", seconds] => sleep(seconds),
        _ => Err("usage: mock [serve | healthcheck | get HOST:PORT PATH | sleep SECONDS]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("mock: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Does nothing for a while: the entry point of a container that serves nobody.
fn sleep(seconds: &str) -> Result<(), String> {
    let seconds: u64 = seconds.parse().map_err(|_| format!("sleep: `{seconds}` is not a whole number of seconds"))?;
    signals::exit_on_term()?;
    std::thread::sleep(Duration::from_secs(seconds));
    Ok(())
}
