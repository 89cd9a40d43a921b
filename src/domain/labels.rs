//! The labels of a container.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::balance::Policy;

/// Opts a container in, by the exact value `true`.
pub const ENABLE: &str = "inference.enable";
/// The port that the server listens on inside the container.
pub const PORT: &str = "inference.port";
/// The URL prefix of the server's API.
pub const BASE_PATH: &str = "inference.api.base_path";

/// Joins containers of different services as replicas.
pub const POOL: &str = "inference.pool";
/// How the container's pool is balanced.
pub const BALANCE: &str = "inference.balance";
/// The container's share among replicas.
pub const WEIGHT: &str = "inference.weight";
/// The container's tier among replicas.
pub const PRIORITY: &str = "inference.priority";
/// The most requests at the container at a time.
pub const MAX_REQUESTS: &str = "inference.max_requests";

/// The values of [`ENABLE`] that opt a container out.
const OFF: [&str; 8] = ["", "false", "no", "off", "0", "f", "n", "disabled"];

/// The largest weight.
pub const WEIGHT_MAX: u16 = 1000;
/// The last tier.
pub const PRIORITY_MAX: u8 = 9;
/// The longest name of a pool, in bytes.
const POOL_MAX_BYTES: usize = 64;

const DEFAULT_PORT: u16 = 8000;
const DEFAULT_BASE_PATH: &str = "/v1";

/// The longest base path, in bytes.
const BASE_PATH_MAX_BYTES: usize = 256;
/// The most of an invalid value that an error repeats, in characters.
const SHOWN_VALUE_CHARS: usize = 64;

/// The labels of a container that opted in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InferenceLabels {
    /// The port inside the container.
    pub port: u16,
    /// The prefix of the API.
    pub base_path: BasePath,
    /// The pool that it joins, whatever its service.
    pub pool: Option<Arc<str>>,
    /// The policy of its pool, if a label names one.
    pub balance: Option<Policy>,
    /// Its share, from 1 to [`WEIGHT_MAX`].
    pub weight: u16,
    /// Its tier, from 0 to [`PRIORITY_MAX`].
    pub priority: u8,
    /// The most requests at it at a time.
    pub max_requests: Option<u32>,
}

/// The prefix of an API's paths: empty for the root, else `/…` without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BasePath(Arc<str>);

impl BasePath {
    /// Parses a prefix: rooted, of segments of letters, digits and `-._~`, none of them a dot segment.
    ///
    /// It is strict, as a host, a query or a dot segment before the path that a client sends would route requests
    /// elsewhere.
    pub fn parse(text: &str) -> Option<Self> {
        let path = text.strip_suffix('/').unwrap_or(text);
        if path.is_empty() {
            return (text == "/").then(|| Self(Arc::from("")));
        }
        let segment = |s: &str| {
            !s.is_empty()
                && s != "."
                && s != ".."
                && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
        };
        let fits = path.len() <= BASE_PATH_MAX_BYTES;
        let rooted = path.strip_prefix('/')?;
        (fits && rooted.split('/').all(segment)).then(|| Self(Arc::from(path)))
    }

    /// Returns the prefix, to be followed by `/chat/completions`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for BasePath {
    fn default() -> Self {
        Self(Arc::from(DEFAULT_BASE_PATH))
    }
}

impl Default for InferenceLabels {
    fn default() -> Self {
        Self {
            port: DEFAULT_PORT,
            base_path: BasePath::default(),
            pool: None,
            balance: None,
            weight: 1,
            priority: 0,
            max_requests: None,
        }
    }
}

/// A label with an invalid value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelError {
    /// The label.
    pub label: &'static str,
    /// Its value, shortened, without control characters.
    pub value: String,
    /// What a valid value looks like.
    pub expected: &'static str,
}

impl fmt::Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "label {} is \"{}\"; it must be {}", self.label, self.value, self.expected)
    }
}

/// Returns true if a container with these labels is to be served: `inference.enable` is exactly `true`.
pub fn has_opted_in<'a>(get: impl Fn(&str) -> Option<&'a str>) -> bool {
    get(ENABLE) == Some("true")
}

/// Returns true if a container with these labels is to be served, or seems to be meant to: the label is there, and does
/// not plainly opt out.
pub fn may_have_opted_in<'a>(get: impl Fn(&str) -> Option<&'a str>) -> bool {
    get(ENABLE).is_some_and(|value| !OFF.iter().any(|word| value.trim().eq_ignore_ascii_case(word)))
}

/// Parses the labels of a container for which [`may_have_opted_in`] is true.
///
/// # Errors
/// Returns `inference.enable` if it is not `true`, or else the first label with an invalid value.
pub fn read<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<InferenceLabels, LabelError> {
    match get(ENABLE) {
        Some(value) if value != "true" => Err(error(ENABLE, value, "exactly \"true\" to opt in, or \"false\"")),
        _ => parse(get),
    }
}

/// Parses the labels of a container that opted in. `get` returns the value of a label.
///
/// # Errors
/// Returns the first label with an invalid value.
pub fn parse<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<InferenceLabels, LabelError> {
    let mut labels = InferenceLabels::default();
    if let Some(value) = get(PORT) {
        labels.port =
            port(value).ok_or_else(|| error(PORT, value, "a port number from 1 to 65535, such as \"8000\""))?;
    }
    if let Some(value) = get(BASE_PATH) {
        labels.base_path = BasePath::parse(value)
            .ok_or_else(|| error(BASE_PATH, value, "a path such as \"/v1\", or \"/\" for none"))?;
    }
    parse_replica(get, &mut labels)?;
    Ok(labels)
}

/// Parses the labels about replicas.
fn parse_replica<'a>(get: impl Fn(&str) -> Option<&'a str>, labels: &mut InferenceLabels) -> Result<(), LabelError> {
    if let Some(value) = get(POOL) {
        let pool = pool(value).ok_or_else(|| error(POOL, value, "a name of letters, digits and \"-._\""))?;
        labels.pool = Some(pool);
    }
    if let Some(value) = get(BALANCE) {
        let expected = "\"prefix_affinity\" or \"least_requests\"";
        labels.balance = Some(Policy::parse(value).ok_or_else(|| error(BALANCE, value, expected))?);
    }
    if let Some(value) = get(WEIGHT) {
        let weight = number(value, 1..=u32::from(WEIGHT_MAX)).and_then(|weight| u16::try_from(weight).ok());
        labels.weight = weight.ok_or_else(|| error(WEIGHT, value, "a number from 1 to 1000"))?;
    }
    if let Some(value) = get(PRIORITY) {
        let priority = number(value, 0..=u32::from(PRIORITY_MAX)).and_then(|priority| u8::try_from(priority).ok());
        labels.priority = priority.ok_or_else(|| error(PRIORITY, value, "a number from 0 to 9"))?;
    }
    if let Some(value) = get(MAX_REQUESTS) {
        let most = number(value, 1..=u32::MAX);
        labels.max_requests = Some(most.ok_or_else(|| error(MAX_REQUESTS, value, "a number from 1, such as \"32\""))?);
    }
    Ok(())
}

fn pool(value: &str) -> Option<Arc<str>> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    ((1..=POOL_MAX_BYTES).contains(&value.len()) && value.bytes().all(is_plain)).then(|| Arc::from(value))
}

/// Parses digits, and nothing else, within this range.
fn number(value: &str, range: RangeInclusive<u32>) -> Option<u32> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| value.parse().ok()).flatten().filter(|number| range.contains(number))
}

/// Parses a port from digits only: `u16::from_str` would accept `+80` as well.
fn port(value: &str) -> Option<u16> {
    number(value, 1..=u32::from(u16::MAX)).and_then(|port| u16::try_from(port).ok())
}

fn error(label: &'static str, value: &str, expected: &'static str) -> LabelError {
    let mut shown: String = value
        .chars()
        .take(SHOWN_VALUE_CHARS)
        .map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '\u{fffd}' })
        .collect();
    if value.chars().nth(SHOWN_VALUE_CHARS).is_some() {
        shown.push('…');
    }
    LabelError { label, value: shown, expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<InferenceLabels, LabelError> {
        parse(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| *v))
    }

    #[test]
    fn only_the_exact_word_true_opts_in() {
        for (value, expected) in
            [(Some("true"), true), (Some("True"), false), (Some("1"), false), (Some(" true"), false), (None, false)]
        {
            assert_eq!(has_opted_in(|name| value.filter(|_| name == ENABLE)), expected, "{value:?}");
        }
    }

    #[test]
    fn what_seems_to_be_meant_to_opt_in_is_named_and_what_says_no_is_left_alone() {
        for value in ["True", "TRUE", "1", "yes", " true", "on", "enabled", "maybe"] {
            let get = |name: &str| Some(value).filter(|_| name == ENABLE);
            assert!(may_have_opted_in(get) && !has_opted_in(get), "{value:?}");
            let said = super::read(get).map_err(|error| error.to_string());
            assert!(said.is_err_and(|said| said.contains("inference.enable") && said.contains("exactly")), "{value:?}");
        }
        for value in ["", "false", "False", "no", "off", "0", " false "] {
            assert!(!may_have_opted_in(|name| Some(value).filter(|_| name == ENABLE)), "{value:?}");
        }
        assert!(!may_have_opted_in(|_| None));
        assert!(may_have_opted_in(|name| Some("true").filter(|_| name == ENABLE)));
        assert!(super::read(|name| Some("true").filter(|_| name == ENABLE)).is_ok());
    }

    #[test]
    fn the_defaults_are_port_8000_and_v1() {
        let labels = read(&[]).unwrap_or_else(|e| unreachable!("{e}"));
        assert_eq!((labels.port, labels.base_path.as_str()), (8000, "/v1"));
    }

    #[test]
    fn good_values_are_taken() {
        for (label, value, port, base) in [
            (PORT, "1", 1, "/v1"),
            (PORT, "65535", 65535, "/v1"),
            (PORT, "08080", 8080, "/v1"),
            (BASE_PATH, "/", 8000, ""),
            (BASE_PATH, "/api/v1/", 8000, "/api/v1"),
            (BASE_PATH, "/a-b_c.d~e", 8000, "/a-b_c.d~e"),
        ] {
            let labels = read(&[(label, value)]).unwrap_or_else(|e| unreachable!("{e}"));
            assert_eq!((labels.port, labels.base_path.as_str()), (port, base), "{value:?}");
        }
    }

    #[test]
    fn a_place_among_replicas_is_read() {
        let labels = read(&[
            (POOL, "llama-70b"),
            (BALANCE, "least_requests"),
            (WEIGHT, "1000"),
            (PRIORITY, "9"),
            (MAX_REQUESTS, "32"),
        ]);
        let labels = labels.unwrap_or_else(|e| unreachable!("{e}"));
        assert_eq!((labels.pool.as_deref(), labels.balance), (Some("llama-70b"), Some(Policy::LeastRequests)));
        assert_eq!((labels.weight, labels.priority, labels.max_requests), (1000, 9, Some(32)));
    }

    #[test]
    fn bad_values_are_refused_with_what_would_be_right() {
        let long = format!("/{}", "a".repeat(300));
        for (label, value) in [
            (PORT, ""),
            (PORT, "0"),
            (PORT, "80a"),
            (PORT, "+80"),
            (PORT, "-1"),
            (PORT, "65536"),
            (PORT, " 80"),
            (PORT, "８０"),
            (BASE_PATH, ""),
            (BASE_PATH, "v1"),
            (BASE_PATH, "//evil/v1"),
            (BASE_PATH, "/v1//"),
            (BASE_PATH, "/../v1"),
            (BASE_PATH, "/v1/."),
            (BASE_PATH, "/v1/%2e%2e"),
            (BASE_PATH, "http://evil/v1"),
            (BASE_PATH, "@169.254.169.254/"),
            (BASE_PATH, "/v1?x=1"),
            (BASE_PATH, "/v1#x"),
            (BASE_PATH, "/v1\\x"),
            (BASE_PATH, "/v\n1"),
            (BASE_PATH, "/v 1"),
            (BASE_PATH, long.as_str()),
            (POOL, ""),
            (POOL, "a b"),
            (BALANCE, "round_robin"),
            (BALANCE, ""),
            (WEIGHT, "0"),
            (WEIGHT, "1001"),
            (WEIGHT, "1.5"),
            (PRIORITY, "10"),
            (PRIORITY, "-1"),
            (MAX_REQUESTS, "0"),
            (MAX_REQUESTS, "many"),
        ] {
            let Err(error) = read(&[(label, value)]) else { unreachable!("{label}={value:?} was taken") };
            assert_eq!(error.label, label);
            let text = error.to_string();
            assert!(text.contains("must be"), "{text}");
            assert!(!text.contains('\n'), "{text}");
            assert!(text.chars().count() < 200, "{text}");
        }
    }
}
