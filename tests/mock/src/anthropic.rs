//! Answers in Anthropic's shapes: messages and count_tokens.

use crate::connection::{Connection, Gone};
use crate::generate::Pace;
use crate::json::{Value, quote};
use crate::openai::accept;
use crate::request::Request;
use crate::state::State;

/// `POST /messages`, whole or as the event sequence `message_start` to `message_stop`.
pub fn messages(state: &State, to: &mut Connection, request: &Request) -> Result<(), Gone> {
    let Some((body, model)) = accept(state, to, request)? else {
        return Ok(());
    };
    let pace = Pace::of(&state.settings, request, &body);
    let message = |content: &str, stop: &str, tokens: u64| {
        format!(
            r#"{{"id":"msg_mock","type":"message","role":"assistant","model":{model},"content":[{content}],"stop_reason":{stop},"stop_sequence":null,"usage":{{"input_tokens":1,"output_tokens":{tokens}}}}}"#
        )
    };
    if !body.get("stream").is_some_and(Value::is_true) {
        let text = quote(&pace.whole(to)?);
        let content = format!(r#"{{"type":"text","text":{text}}}"#);
        return to.json(200, &message(&content, "\"end_turn\"", pace.tokens));
    }
    to.begin_chunks("text/event-stream")?;
    let start = format!("\"message\":{}", message("", "null", 0));
    event(to, "message_start", &start)?;
    let block = r#""index":0,"content_block":{"type":"text","text":""}"#;
    event(to, "content_block_start", block)?;
    to.chunk(b"event: ping\ndata: {\"type\":\"ping\"}\n\n")?;
    pace.stream(to, |to, token| {
        let text = quote(token);
        let delta = format!(r#""index":0,"delta":{{"type":"text_delta","text":{text}}}"#);
        event(to, "content_block_delta", &delta)
    })?;
    event(to, "content_block_stop", "\"index\":0")?;
    let delta = format!(
        r#""delta":{{"stop_reason":"end_turn","stop_sequence":null}},"usage":{{"output_tokens":{}}}"#,
        pace.tokens
    );
    event(to, "message_delta", &delta)?;
    to.chunk(b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")?;
    to.end_chunks()
}

/// `POST /messages/count_tokens`: a token for every four bytes of the body.
pub fn count_tokens(to: &mut Connection, request: &Request) -> Result<(), Gone> {
    to.json(200, &format!(r#"{{"input_tokens":{}}}"#, request.body.length / 4))
}

fn event(to: &mut Connection, kind: &str, fields: &str) -> Result<(), Gone> {
    to.chunk(format!("event: {kind}\ndata: {{\"type\":\"{kind}\",{fields}}}\n\n").as_bytes())
}
