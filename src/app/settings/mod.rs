//! The settings: as typed in the environment, then as values that can be used. One function between.

mod documented;
mod label_filter;
mod units;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

pub use documented::{Documented, SETTINGS};
use domain::backend_url::BackendUrl;
use domain::balance::Policy;
use domain::drain::DrainPolicy;
use domain::pool::Replicas;
use domain::table::TableRules;

use units::{bytes, duration};

/// Everything that can be set. [`Settings::read`] makes it from the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The address that the proxy listens on.
    pub bind: IpAddr,
    /// The port that the proxy listens on.
    pub port: u16,
    /// The longest wait for requests in flight, when a backend goes and when the proxy stops.
    pub drain_timeout: Duration,
    /// How long the proxy goes on as usual, but not ready, after it was told to stop.
    pub stop_delay: Duration,
    /// After which time a container that ignored its stop signal is taken back.
    pub readmit_after: Duration,
    /// How often a backend in service is asked for its models anew.
    pub models_refresh: Duration,
    /// Which containers with the same model are replicas.
    pub replicas: Replicas,
    /// How replicas share their requests.
    pub balance: Policy,
    /// The most bytes of one body that are held, or decoded, to find its model.
    pub max_buffered_body: usize,
    /// The most bytes of all bodies together that are held to find their models.
    pub max_buffered_total: usize,
    /// The most client connections, if somebody says how many; else [`MAX_CONNECTIONS`], or as many as there are
    /// descriptors for.
    pub max_connections: Option<usize>,
    /// How lines of log are written.
    pub log_format: LogFormat,
    /// Which lines of log are written, as `RUST_LOG` has it.
    pub log_filter: Option<String>,
    /// Whether `/status` is there.
    pub status: bool,
    /// The backends that are no containers.
    pub backends: Vec<BackendUrl>,
    /// Certificates that are trusted at backends besides the usual ones, in PEM.
    pub backends_ca_file: Option<PathBuf>,
    /// Whether a Docker engine is watched.
    pub docker: bool,
    /// The label, and its value, of the containers that are looked at.
    pub label_filter: Option<(String, String)>,
    /// Where the engine is, as the docker command has it.
    pub engine: EngineAddress,
}

/// How lines of log are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// Text for people.
    Text,
}

/// Where the Docker engine is found; the variables of the docker command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EngineAddress {
    /// `DOCKER_HOST`.
    pub host: Option<String>,
    /// `DOCKER_TLS_VERIFY`, set to anything.
    pub tls_verify: bool,
    /// `DOCKER_CERT_PATH`.
    pub cert_path: Option<PathBuf>,
}

/// A setting whose value cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError {
    /// The variable.
    pub variable: &'static str,
    /// Its value, made safe to print.
    pub value: String,
    /// What it must be.
    pub expected: &'static str,
    /// A value that would do.
    pub example: &'static str,
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { variable, value, expected, example } = self;
        write!(f, "{variable} is \"{value}\"; it must be {expected}, for example {variable}={example}")
    }
}

impl std::error::Error for SettingError {}

/// The most time that a setting may name.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// The most of a bad value that an error repeats, in characters.
const SHOWN_VALUE_CHARS: usize = 80;
/// The most client connections where nobody says how many.
pub const MAX_CONNECTIONS: usize = 16_384;
/// The most backends that are no containers.
const BACKENDS_MAX: usize = 64;
/// The values of `PROXY_REPLICAS`.
const REPLICAS: [(&str, Replicas); 3] =
    [("service", Replicas::Service), ("off", Replicas::Off), ("all", Replicas::All)];
/// The values of `PROXY_BALANCE`.
const BALANCE: [(&str, Policy); 2] =
    [("prefix_affinity", Policy::PrefixAffinity), ("least_requests", Policy::LeastRequests)];
/// The least that may be held of one body.
const LEAST_HELD: usize = 1024;

impl Settings {
    /// Reads the settings. `get` answers the value of a variable, `None` where it is unset; an empty value counts as
    /// unset, as Compose writes `VARIABLE=` for what is not there.
    ///
    /// # Errors
    /// The first variable whose value cannot be read. There is no falling back to a default.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let get = |name: &'static str| get(name).filter(|value| !value.is_empty());
        let time = |name, default, least: Duration| match get(name) {
            None => Ok(default),
            Some(text) => duration(&text)
                .filter(|time| (least..=LONGEST).contains(time))
                .ok_or_else(|| error(name, &text, "a time of at most 24h", "90s")),
        };
        let size = |name, default| match get(name) {
            None => Ok(default),
            Some(text) => bytes(&text)
                .filter(|size| *size >= LEAST_HELD)
                .ok_or_else(|| error(name, &text, "a size in bytes of at least 1KiB", "64MiB")),
        };
        let second = Duration::from_secs(1);
        Ok(Self {
            bind: parsed("PROXY_BIND", &get, IpAddr::V6(Ipv6Addr::UNSPECIFIED), "an IP address", "0.0.0.0")?,
            port: port(&get)?,
            drain_timeout: time("PROXY_DRAIN_TIMEOUT", 60 * second, Duration::ZERO)?,
            stop_delay: time("PROXY_STOP_DELAY", Duration::ZERO, Duration::ZERO)?,
            readmit_after: time("PROXY_READMIT_AFTER", 300 * second, second)?,
            models_refresh: time("PROXY_MODELS_REFRESH", 30 * second, second / 10)?,
            replicas: one_of("PROXY_REPLICAS", ("service, off or all", &REPLICAS), &get)?,
            balance: one_of("PROXY_BALANCE", ("prefix_affinity or least_requests", &BALANCE), &get)?,
            max_buffered_body: size("PROXY_MAX_BUFFERED_BODY", 64 << 20)?,
            max_buffered_total: size("PROXY_MAX_BUFFERED_TOTAL", 512 << 20)?,
            max_connections: get("PROXY_MAX_CONNECTIONS")
                .map(|text| {
                    text.parse().map_err(|_| error("PROXY_MAX_CONNECTIONS", &text, "a number of connections", "16384"))
                })
                .transpose()?,
            log_format: log_format(&get)?,
            log_filter: get("RUST_LOG"),
            status: switch("PROXY_STATUS", &["on"], &get)?,
            backends: backends(&get)?,
            backends_ca_file: get("PROXY_BACKENDS_CA_FILE").map(PathBuf::from),
            docker: switch("PROXY_DOCKER", &["auto", "on"], &get)?,
            label_filter: label_filter::read(&get)?,
            engine: EngineAddress {
                host: get("DOCKER_HOST"),
                tls_verify: get("DOCKER_TLS_VERIFY").is_some(),
                cert_path: get("DOCKER_CERT_PATH").map(PathBuf::from),
            },
        })
    }
}

impl Settings {
    /// Whether there is anything to route to.
    ///
    /// # Errors
    /// Docker is left out, and no other backend is named.
    pub fn check_sources(&self) -> Result<(), SettingError> {
        match self.docker || !self.backends.is_empty() {
            true => Ok(()),
            false => Err(error(
                "PROXY_DOCKER",
                "off",
                "on where PROXY_BACKENDS names no backend, for there is nothing to route to; or name one",
                "off PROXY_BACKENDS=http://localhost:8000/v1",
            )),
        }
    }

    /// The rules that the routing table goes by.
    pub fn table_rules(&self) -> TableRules {
        TableRules {
            drain: DrainPolicy { timeout: self.drain_timeout, readmit_after: self.readmit_after },
            refresh_every: self.models_refresh,
            replicas: self.replicas,
            balance: self.balance,
        }
    }
}

fn port(get: &impl Fn(&'static str) -> Option<String>) -> Result<u16, SettingError> {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    match get("PROXY_PORT") {
        None => Ok(8080),
        Some(text) => digits(&text)
            .filter(|port| *port != 0)
            .ok_or_else(|| error("PROXY_PORT", &text, "a port number from 1 to 65535", "8080")),
    }
}

fn parsed<T: std::str::FromStr>(
    name: &'static str,
    get: &impl Fn(&'static str) -> Option<String>,
    default: T,
    expected: &'static str,
    example: &'static str,
) -> Result<T, SettingError> {
    match get(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| error(name, &text, expected, example)),
    }
}

/// One of several words; the first where it is unset.
fn one_of<T: Copy + Default>(
    name: &'static str,
    (expected, words): (&'static str, &[(&'static str, T)]),
    get: &impl Fn(&'static str) -> Option<String>,
) -> Result<T, SettingError> {
    let Some(text) = get(name) else { return Ok(T::default()) };
    let known = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    known.ok_or_else(|| error(name, &text, expected, words.first().map_or("", |(word, _)| word)))
}

fn log_format(get: &impl Fn(&'static str) -> Option<String>) -> Result<LogFormat, SettingError> {
    match get("PROXY_LOG_FORMAT").as_deref() {
        None | Some("auto") => Ok(LogFormat::Auto),
        Some("json") => Ok(LogFormat::Json),
        Some("text") => Ok(LogFormat::Text),
        Some(other) => Err(error("PROXY_LOG_FORMAT", other, "json, text or auto", "json")),
    }
}

/// The base URLs between commas and white space, none of them twice.
fn backends(get: &impl Fn(&'static str) -> Option<String>) -> Result<Vec<BackendUrl>, SettingError> {
    const NAME: &str = "PROXY_BACKENDS";
    const EXAMPLE: &str = "http://localhost:8000/v1";
    let text = get(NAME).unwrap_or_default();
    let mut backends = Vec::new();
    for part in text.split([',', ' ', '\t', '\r', '\n']).filter(|part| !part.is_empty()) {
        let url = BackendUrl::parse(part).map_err(|wrong| error(NAME, part, wrong.expected(), EXAMPLE))?;
        if backends.contains(&url) {
            return Err(error(NAME, part, "a list that names each backend once", EXAMPLE));
        }
        backends.push(url);
    }
    match backends.len() > BACKENDS_MAX {
        true => Err(error(NAME, &text, "a list of at most 64 backends", EXAMPLE)),
        false => Ok(backends),
    }
}

/// Whether something is on, as it is where nothing is said.
fn switch(
    name: &'static str,
    on: &[&str],
    get: &impl Fn(&'static str) -> Option<String>,
) -> Result<bool, SettingError> {
    match get(name).as_deref() {
        None => Ok(true),
        Some("off") => Ok(false),
        Some(word) if on.contains(&word) => Ok(true),
        Some(other) if on.contains(&"auto") => Err(error(name, other, "auto, on or off", "off")),
        Some(other) => Err(error(name, other, "on or off", "off")),
    }
}

fn error(variable: &'static str, value: &str, expected: &'static str, example: &'static str) -> SettingError {
    let value = value.chars().take(SHOWN_VALUE_CHARS).flat_map(char::escape_default).collect();
    SettingError { variable, value, expected, example }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, SettingError> {
        Settings::read(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn nothing_needs_to_be_set() {
        let settings = read(&[]).unwrap_or_else(|e| unreachable!("{e}"));
        assert_eq!((settings.port, settings.drain_timeout), (8080, Duration::from_secs(60)));
        assert_eq!(read(&[("PROXY_PORT", "")]), Ok(settings), "empty is unset");
    }

    #[test]
    fn backends_are_a_list_of_base_urls_each_once() {
        let shown = |value: &str| {
            read(&[("PROXY_BACKENDS", value)])
                .map(|settings| settings.backends.iter().map(ToString::to_string).collect::<Vec<_>>())
                .map_err(|error| error.to_string())
        };
        let two = vec!["http://localhost:8080/v1".to_owned(), "http://host.docker.internal:11434/v1".to_owned()];
        for text in [
            "http://localhost:8080/v1,http://host.docker.internal:11434/v1",
            "http://localhost:8080/v1, http://host.docker.internal:11434/v1/",
            "  http://localhost:8080\n\thttp://host.docker.internal:11434/,",
        ] {
            assert_eq!(shown(text), Ok(two.clone()), "{text:?}");
        }
        assert_eq!(shown(" , "), Ok(Vec::new()));
        for (text, expected) in [
            ("ftp://a/v1", "or https://"),
            ("http://a/v1 http://A:80", "each backend once"),
            ("localhost:8080", "begins with http://"),
        ] {
            let said = shown(text).err().unwrap_or_default();
            assert!(said.starts_with("PROXY_BACKENDS is \"") && said.contains(expected), "{said}");
        }
        let many = (0..65).map(|n| format!("http://h{n}")).collect::<Vec<_>>().join(",");
        assert!(shown(&many).is_err());
    }

    #[test]
    fn docker_is_left_out_only_by_the_word_off_and_then_another_backend_must_be_named() {
        for (value, docker) in [("", true), ("auto", true), ("on", true), ("off", false)] {
            assert_eq!(read(&[("PROXY_DOCKER", value)]).map(|settings| settings.docker), Ok(docker), "{value:?}");
        }
        assert!(read(&[("PROXY_DOCKER", "no")]).is_err());
        let check = |pairs: &[(&str, &str)]| read(pairs).and_then(|settings| settings.check_sources());
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[("PROXY_DOCKER", "off"), ("PROXY_BACKENDS", "http://h")]), Ok(()));
        let said = check(&[("PROXY_DOCKER", "off")]).map_err(|error| error.to_string()).err().unwrap_or_default();
        assert!(said.contains("PROXY_BACKENDS") && !said.contains('\n'), "{said}");
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, millis) in [("90s", 90_000), ("1m30s", 90_000), ("500ms", 500), ("0s", 0), ("1h", 3_600_000)] {
            let settings = read(&[("PROXY_DRAIN_TIMEOUT", text)]).unwrap_or_else(|e| unreachable!("{e}"));
            assert_eq!(settings.drain_timeout, Duration::from_millis(millis), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_with_an_example() {
        for (variable, value) in [
            ("PROXY_PORT", "0"),
            ("PROXY_PORT", "80a"),
            ("PROXY_PORT", "+80"),
            ("PROXY_PORT", "70000"),
            ("PROXY_PORT", " "),
            ("PROXY_BIND", "localhost"),
            ("PROXY_DRAIN_TIMEOUT", "90"),
            ("PROXY_DRAIN_TIMEOUT", "-1s"),
            ("PROXY_DRAIN_TIMEOUT", "soon"),
            ("PROXY_DRAIN_TIMEOUT", "25h"),
            ("PROXY_MAX_BUFFERED_BODY", "10"),
            ("PROXY_MAX_BUFFERED_BODY", "1TB"),
            ("PROXY_MAX_CONNECTIONS", "many"),
            ("PROXY_LOG_FORMAT", "xml"),
            ("PROXY_LOG_FORMAT", "js\non"),
        ] {
            let Err(error) = read(&[(variable, value)]) else { unreachable!("{variable}={value} was taken") };
            assert_eq!(error.variable, variable);
            let line = error.to_string();
            assert!(line.contains(&format!("for example {variable}=")) && !line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn every_variable_is_documented() {
        let asked = std::cell::RefCell::new(Vec::new());
        let _ = Settings::read(|name| {
            asked.borrow_mut().push(name.to_owned());
            None
        });
        for name in asked.borrow().iter() {
            assert!(SETTINGS.iter().any(|setting| setting.variable == *name), "{name} is not in SETTINGS");
        }
    }
}
