//! Answers in Anthropic's shapes.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::{Asked, json_response, words};

type Models = State<Arc<[String]>>;

fn error(message: &str) -> Value {
    json!({ "type": "error", "error": { "type": "invalid_request_error", "message": message } })
}

pub(super) async fn messages(State(models): Models, body: Body) -> Response {
    let asked = match Asked::read(&models, body, error).await {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    let said = words::reply(&asked.model, &asked.body);
    let input_tokens = words::counted(&asked.body);
    let message = |content: Value, reason: Value, output_tokens: usize| {
        json!({ "id": "msg_sample", "type": "message", "role": "assistant", "model": asked.model, "content": content,
            "stop_reason": reason, "stop_sequence": null,
            "usage": { "input_tokens": input_tokens, "output_tokens": output_tokens } })
    };
    if !asked.streams() {
        let content = json!([{ "type": "text", "text": said.concat() }]);
        return json_response(StatusCode::OK, &message(content, json!("end_turn"), said.len()));
    }
    let event = |name: &str, mut data: Value| {
        data["type"] = json!(name);
        format!("event: {name}\ndata: {data}\n\n")
    };
    let mut events = vec![
        event("message_start", json!({ "message": message(json!([]), Value::Null, 0) })),
        event("content_block_start", json!({ "index": 0, "content_block": { "type": "text", "text": "" } })),
    ];
    events.extend(said.iter().map(|word| {
        event("content_block_delta", json!({ "index": 0, "delta": { "type": "text_delta", "text": word } }))
    }));
    let end = json!({ "delta": { "stop_reason": "end_turn", "stop_sequence": null },
        "usage": { "output_tokens": said.len() } });
    events.push(event("content_block_stop", json!({ "index": 0 })));
    events.push(event("message_delta", end));
    events.push(event("message_stop", json!({})));
    words::events(events)
}

pub(super) async fn count_tokens(State(models): Models, body: Body) -> Response {
    match Asked::read(&models, body, error).await {
        Ok(asked) => json_response(StatusCode::OK, &json!({ "input_tokens": words::counted(&asked.body) })),
        Err(answer) => answer,
    }
}
