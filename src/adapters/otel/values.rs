//! Parses the values of `OTEL_*` variables. An invalid value is an error, never a default.

use std::fmt;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

/// How many characters of an invalid value an error repeats.
const SHOWN_VALUE_CHARS: usize = 80;

/// A variable with an invalid value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtelSettingError {
    pub variable: String,
    /// The value, safe to print; `None` if it may hold a secret.
    pub value: Option<String>,
    /// What the value must be.
    pub expected: &'static str,
    /// A valid value.
    pub example: &'static str,
}

impl fmt::Display for OtelSettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { variable, value, expected, example } = self;
        match value {
            Some(value) => write!(f, "{variable} is \"{value}\"; ")?,
            None => write!(f, "{variable} cannot be read (its value is not shown, it may be secret); ")?,
        }
        write!(f, "it must be {expected}, for example {variable}={example}")
    }
}

impl std::error::Error for OtelSettingError {}

/// The environment. An empty value counts as unset, as the OpenTelemetry specification has it.
pub(super) struct Variables<'a>(pub(super) &'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    pub(super) fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Parses a variable. Returns `None` if it is unset.
    pub(super) fn read<T>(&self, name: &str, kind: &Kind<T>) -> Result<Option<T>, OtelSettingError> {
        self.get(name).map(|text| kind.parse(name, &text)).transpose()
    }

    /// Parses two variables, and returns the first that is set.
    pub(super) fn first<T>(&self, names: [&str; 2], kind: &Kind<T>) -> Result<Option<T>, OtelSettingError> {
        let [first, second] = names;
        let (first, second) = (self.read(first, kind)?, self.read(second, kind)?);
        Ok(first.or(second))
    }
}

/// How to parse a kind of value.
pub(super) struct Kind<T> {
    pub(super) parse: fn(&str) -> Option<T>,
    pub(super) expected: &'static str,
    pub(super) example: &'static str,
    pub(super) secret: bool,
}

impl<T> Kind<T> {
    const fn new(parse: fn(&str) -> Option<T>, expected: &'static str, example: &'static str) -> Self {
        Self { parse, expected, example, secret: false }
    }

    pub(super) fn parse(&self, name: &str, text: &str) -> Result<T, OtelSettingError> {
        (self.parse)(text).ok_or_else(|| self.error(name, text))
    }

    pub(super) fn error(&self, name: &str, text: &str) -> OtelSettingError {
        let printable = || text.chars().take(SHOWN_VALUE_CHARS).flat_map(char::escape_default).collect();
        OtelSettingError {
            variable: name.to_owned(),
            value: (!self.secret).then(printable),
            expected: self.expected,
            example: self.example,
        }
    }
}

/// `true` or `false`, in any case.
pub(super) const BOOLEAN: Kind<bool> = Kind::new(
    |text| match () {
        () if text.eq_ignore_ascii_case("true") => Some(true),
        () if text.eq_ignore_ascii_case("false") => Some(false),
        () => None,
    },
    "true or false",
    "true",
);

/// A time in milliseconds, not zero.
pub(super) const MILLISECONDS: Kind<Duration> = Kind::new(
    |text| text.parse().ok().filter(|millis| (1..=MAX_MILLIS).contains(millis)).map(Duration::from_millis),
    "a time in milliseconds, from 1 to 86400000",
    "10000",
);
/// One day.
const MAX_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// A number of spans.
pub(super) const SPANS: Kind<usize> =
    Kind::new(|text| text.parse().ok().filter(|n| (1..=MAX_SPANS).contains(n)), "a number from 1 to 1000000", "2048");
const MAX_SPANS: usize = 1_000_000;

/// A ratio of traces.
pub(super) const RATIO: Kind<f64> =
    Kind::new(|text| text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio)), "a number from 0 to 1", "0.25");

pub(super) const ENDPOINT: Kind<http::Uri> = Kind::new(
    |text| {
        let uri: http::Uri = text.parse().ok()?;
        let scheme = uri.scheme_str()?;
        let host = uri.host().is_some_and(|host| !host.is_empty());
        // `Uri` allows any text as a port.
        let port = uri.port_u16().is_some_and(|port| port != 0)
            || uri.authority().is_some_and(|authority| authority.as_str().ends_with(uri.host().unwrap_or_default()));
        (host && port && (scheme == "http" || scheme == "https")).then_some(uri)
    },
    "a URL that begins with http:// or https://",
    "http://collector:4317",
);

/// The transport of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    /// Protobuf over HTTP.
    Http,
}

pub(super) const PROTOCOL: Kind<Protocol> = Kind::new(
    |text| match text {
        "grpc" => Some(Protocol::Grpc),
        "http/protobuf" => Some(Protocol::Http),
        _ => None,
    },
    "grpc or http/protobuf",
    "grpc",
);

/// Whether exports are compressed.
pub(super) const COMPRESSION: Kind<bool> = Kind::new(
    |text| match text {
        "gzip" => Some(true),
        "none" => Some(false),
        _ => None,
    },
    "gzip or none",
    "gzip",
);

/// Whether a signal is exported.
pub(super) const EXPORTER: Kind<bool> = Kind::new(
    |text| match text {
        "otlp" => Some(true),
        "none" => Some(false),
        _ => None,
    },
    "otlp or none",
    "otlp",
);

/// Whether the W3C trace context is among the propagators.
pub(super) const PROPAGATORS: Kind<bool> = Kind::new(
    |text| {
        let names: Vec<_> = text.split(',').map(str::trim).collect();
        let known = names.iter().all(|name| ["tracecontext", "baggage", "none"].contains(name));
        known.then(|| names.contains(&"tracecontext"))
    },
    "tracecontext, baggage, both with a comma between, or none",
    "tracecontext,baggage",
);

/// The headers of every export.
pub(super) const HEADERS: Kind<Vec<(HeaderName, HeaderValue)>> = Kind {
    secret: true,
    ..Kind::new(
        |text| {
            let header = |(name, value): (String, String)| {
                let name = HeaderName::try_from(name).ok()?;
                Some((name, HeaderValue::try_from(value).ok()?))
            };
            pairs(text)?.into_iter().map(header).collect()
        },
        "pairs of name=value with commas between, values percent-encoded",
        "api-key=secret,x-team=ml",
    )
};

pub(super) const ATTRIBUTES: Kind<Vec<(String, String)>> = Kind::new(
    pairs,
    "pairs of key=value with commas between, values percent-encoded",
    "deployment.environment.name=test,service.namespace=ml",
);

/// Parses `a=b,c=d` with percent-encoded parts.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            let (key, value) = entry.split_once('=')?;
            let key = percent_decode(key.trim())?;
            (!key.is_empty()).then_some((key, percent_decode(value.trim())?))
        })
        .collect()
}

/// Decodes `%41`. An invalid escape is an error, so the crate `percent-encoding`, which lets it pass, will not do.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(plain).ok()
}
