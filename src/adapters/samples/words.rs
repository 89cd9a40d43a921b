//! What a sample server says, word by word.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::Value;

/// The time between two words of a stream.
const WORD_EVERY: Duration = Duration::from_millis(40);
/// How much of the question is repeated, in characters.
const ECHO_CHARS: usize = 200;
/// The longest answer, in words.
const WORDS_MAX: usize = 256;

/// The answer of a model to the last message of a conversation, no longer than the request allows.
pub fn reply(model: &str, body: &Value) -> Vec<String> {
    let question: String = question(body).chars().take(ECHO_CHARS).collect();
    let text = format!(
        "Hello from {model}! I am a sample server: I know nothing, but I say it word by word, as a real model would. \
         You said: \"{}\"",
        question.trim()
    );
    let most = ["max_tokens", "max_completion_tokens"].iter().find_map(|name| body.get(*name)?.as_u64());
    let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(WORDS_MAX).min(WORDS_MAX);
    text.split_inclusive(' ').take(most).map(str::to_owned).collect()
}

/// The text of the last message, or the prompt.
fn question(body: &Value) -> String {
    let message = body.get("messages").and_then(Value::as_array).and_then(|all| all.last());
    match message.and_then(|message| message.get("content")).or_else(|| body.get("prompt")) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        _ => String::new(),
    }
}

/// How many words there are in what was asked; what a tokenizer would count, roughly.
pub fn counted(body: &Value) -> usize {
    ["messages", "prompt", "input", "system"]
        .iter()
        .filter_map(|name| body.get(*name))
        .map(|value| value.to_string().split_whitespace().count())
        .sum()
}

/// A stream of events, one after another with a little time between.
pub fn events(events: Vec<String>) -> Response {
    let paced = stream::unfold(events.into_iter(), |mut events| async move {
        let event = events.next()?;
        tokio::time::sleep(WORD_EVERY).await;
        Some((Ok::<_, Infallible>(event), events))
    });
    ([(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")], Body::from_stream(paced)).into_response()
}
