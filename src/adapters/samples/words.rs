//! The words of a sample response, and their stream.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::Value;

const PAUSE_BETWEEN_EVENTS: Duration = Duration::from_millis(40);
/// How many characters of the prompt a response repeats.
const ECHO_CHARS: usize = 200;
const WORDS_MAX: usize = 256;

/// Returns the words of a response to the last message, at most as many as the request allows.
pub fn reply(model: &str, body: &Value) -> Vec<String> {
    let message: String = last_message(body).chars().take(ECHO_CHARS).collect();
    let text = format!(
        "Hello from {model}! I am a sample server: I know nothing, but I say it word by word, as a real model would. \
         You said: \"{}\"",
        message.trim()
    );
    let most = ["max_tokens", "max_completion_tokens"].iter().find_map(|name| body.get(*name)?.as_u64());
    let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(WORDS_MAX).min(WORDS_MAX);
    text.split_inclusive(' ').take(most).map(str::to_owned).collect()
}

/// Returns the text of the last message, or the prompt.
fn last_message(body: &Value) -> String {
    let message = body.get("messages").and_then(Value::as_array).and_then(|all| all.last());
    match message.and_then(|message| message.get("content")).or_else(|| body.get("prompt")) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        _ => String::new(),
    }
}

/// Counts the words of a request, about as a tokenizer would.
pub fn count(body: &Value) -> usize {
    ["messages", "prompt", "input", "system"]
        .iter()
        .filter_map(|name| body.get(*name))
        .map(|value| value.to_string().split_whitespace().count())
        .sum()
}

/// Streams events, with a pause before each.
pub fn events(events: Vec<String>) -> Response {
    let paced = stream::unfold(events.into_iter(), |mut events| async move {
        let event = events.next()?;
        tokio::time::sleep(PAUSE_BETWEEN_EVENTS).await;
        Some((Ok::<_, Infallible>(event), events))
    });
    ([(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")], Body::from_stream(paced)).into_response()
}
