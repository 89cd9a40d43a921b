//! What the server is told by its environment.

use std::time::Duration;

/// What a stop signal does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTerm {
    /// Leave at once, cutting what is in flight.
    Exit,
    /// Let what is in flight finish, then leave.
    Finish,
    /// Go on as if nothing had happened.
    Ignore,
}

/// The settings, each from the variable of the same name in capitals.
#[derive(Clone, Debug)]
pub struct Settings {
    pub bind: String,
    pub port: u16,
    pub name: String,
    pub models: Vec<String>,
    pub base_path: String,
    pub on_term: OnTerm,
    pub extra_sig: Vec<i32>,
    pub exit_code: i32,
    pub listen_after: Duration,
    pub ready_after: Duration,
    pub crash_after: Option<Duration>,
    pub models_delay: Duration,
    pub models_status: u16,
    pub models_body: Option<String>,
    pub tokens: u64,
    pub token: Duration,
    pub first_token: Duration,
    pub idle_close: Option<Duration>,
}

impl Settings {
    /// Reads the environment; an unreadable value names its variable.
    pub fn from_env() -> Result<Self, String> {
        Ok(Self {
            bind: text("BIND").unwrap_or_else(|| "0.0.0.0".into()),
            port: number("PORT", 8000)?,
            name: text("NAME").or_else(|| text("HOSTNAME")).unwrap_or_else(|| "mock".into()),
            models: list(&text("MODELS").unwrap_or_else(|| "mock-model".into())),
            base_path: base_path(text("BASE_PATH").as_deref().unwrap_or("/v1")),
            on_term: on_term(text("ON_TERM").as_deref().unwrap_or("exit"))?,
            extra_sig: list(&text("EXTRA_SIG").unwrap_or_default())
                .iter()
                .map(|name| crate::signals::number(name))
                .collect::<Result<_, _>>()?,
            exit_code: number("EXIT_CODE", 0)?,
            listen_after: millis("LISTEN_AFTER_MS", 0)?,
            ready_after: millis("READY_AFTER_MS", 0)?,
            crash_after: some_millis("CRASH_AFTER_MS")?,
            models_delay: millis("MODELS_DELAY_MS", 0)?,
            models_status: number("MODELS_STATUS", 200)?,
            models_body: text("MODELS_BODY"),
            tokens: number("TOKENS", 5)?,
            token: millis("TOKEN_MS", 10)?,
            first_token: millis("FIRST_TOKEN_MS", 0)?,
            idle_close: some_millis("IDLE_CLOSE_MS")?,
        })
    }
}

/// Splits a comma list; empty entries are dropped.
pub fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn base_path(text: &str) -> String {
    let trimmed = text.trim_matches('/');
    if trimmed.is_empty() { String::new() } else { format!("/{trimmed}") }
}

fn on_term(text: &str) -> Result<OnTerm, String> {
    match text {
        "exit" => Ok(OnTerm::Exit),
        "finish" => Ok(OnTerm::Finish),
        "ignore" => Ok(OnTerm::Ignore),
        other => Err(format!("ON_TERM: `{other}` is not exit, finish or ignore")),
    }
}

fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number<T: std::str::FromStr>(name: &str, default: T) -> Result<T, String> {
    match text(name) {
        None => Ok(default),
        Some(value) => value.parse().map_err(|_| format!("{name}: `{value}` is not a number in range")),
    }
}

fn millis(name: &str, default: u64) -> Result<Duration, String> {
    number(name, default).map(Duration::from_millis)
}

fn some_millis(name: &str) -> Result<Option<Duration>, String> {
    Ok(Some(millis(name, 0)?).filter(|wait| !wait.is_zero()))
}
