//! The endpoint of a request's path, out of a small set of names.

use http::Method;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// The path, with placeholders for what callers choose. `None` for paths outside of `/v1`.
    pub(super) route: Option<&'static str>,
    /// The value of `gen_ai.operation.name`. `None` if no name fits.
    pub(super) operation: Option<&'static str>,
    /// The value of `gen_ai.provider.name`: whose API this is.
    pub(super) provider: &'static str,
}

const fn plain(route: &'static str) -> Endpoint {
    Endpoint { route: Some(route), operation: None, provider: "openai" }
}

const fn generates(route: &'static str, operation: &'static str, provider: &'static str) -> Endpoint {
    Endpoint { route: Some(route), operation: Some(operation), provider }
}

/// The endpoints with a fixed path.
static KNOWN: [(&str, Endpoint); 18] = [
    ("chat/completions", generates("/v1/chat/completions", "chat", "openai")),
    ("completions", generates("/v1/completions", "text_completion", "openai")),
    ("messages", generates("/v1/messages", "chat", "anthropic")),
    ("responses", generates("/v1/responses", "chat", "openai")),
    ("embeddings", generates("/v1/embeddings", "embeddings", "openai")),
    ("messages/count_tokens", Endpoint { provider: "anthropic", ..plain("/v1/messages/count_tokens") }),
    ("models", plain("/v1/models")),
    ("audio/speech", plain("/v1/audio/speech")),
    ("audio/transcriptions", plain("/v1/audio/transcriptions")),
    ("audio/translations", plain("/v1/audio/translations")),
    ("classify", plain("/v1/classify")),
    ("images/generations", plain("/v1/images/generations")),
    ("moderations", plain("/v1/moderations")),
    ("pooling", plain("/v1/pooling")),
    ("realtime", plain("/v1/realtime")),
    ("rerank", plain("/v1/rerank")),
    ("score", plain("/v1/score")),
    ("tokenize", plain("/v1/tokenize")),
];
static MODEL: Endpoint = plain("/v1/models/{id}");
static OTHER: Endpoint = plain("/v1/{*path}");
static NONE: Endpoint = Endpoint { route: None, ..plain("") };

pub(super) fn endpoint(path: &str) -> &'static Endpoint {
    let Some(under) = path.strip_prefix("/v1/") else { return &NONE };
    match KNOWN.iter().find(|(known, _)| *known == under) {
        Some((_, endpoint)) => endpoint,
        None if under.starts_with("models/") => &MODEL,
        None => &OTHER,
    }
}

/// Returns true if a path is for health checks, which are not recorded.
pub(super) fn is_probe(path: &str) -> bool {
    path == "/healthz" || path == "/readyz"
}

/// Returns the method, or `_OTHER` for an unknown one (the semantic conventions for HTTP).
pub(super) fn method(method: &Method) -> &'static str {
    const NAMES: [&str; 9] = ["POST", "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "CONNECT", "TRACE"];
    NAMES.into_iter().find(|name| *name == method.as_str()).unwrap_or("_OTHER")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_callers_own_is_no_new_name() {
        for (path, route, operation) in [
            ("/v1/chat/completions", Some("/v1/chat/completions"), Some("chat")),
            ("/v1/messages", Some("/v1/messages"), Some("chat")),
            ("/v1/models/org/model", Some("/v1/models/{id}"), None),
            ("/v1/anything/else", Some("/v1/{*path}"), None),
            ("/v1", None, None),
            ("/else", None, None),
        ] {
            assert_eq!((endpoint(path).route, endpoint(path).operation), (route, operation), "{path}");
        }
        assert_eq!(method(&Method::POST), "POST");
        assert_eq!(Method::from_bytes(b"BREW").map(|brew| method(&brew)).ok(), Some("_OTHER"));
    }
}
