//! Responses of the Anthropic API.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::{ModelRequest, json_response, words};

type Models = State<Arc<[String]>>;

fn error(message: &str) -> Value {
    json!({ "type": "error", "error": { "type": "invalid_request_error", "message": message } })
}

pub(super) async fn messages(State(models): Models, body: Body) -> Response {
    let request = match ModelRequest::read(&models, body, error).await {
        Ok(request) => request,
        Err(response) => return response,
    };
    let reply = words::reply(&request.model, &request.body);
    let input_tokens = words::count(&request.body);
    let message = |content: Value, reason: Value, output_tokens: usize| {
        json!({ "id": "msg_sample", "type": "message", "role": "assistant", "model": request.model, "content": content,
            "stop_reason": reason, "stop_sequence": null,
            "usage": { "input_tokens": input_tokens, "output_tokens": output_tokens } })
    };
    if !request.is_streaming() {
        let content = json!([{ "type": "text", "text": reply.concat() }]);
        return json_response(StatusCode::OK, &message(content, json!("end_turn"), reply.len()));
    }
    let event = |name: &str, mut data: Value| {
        data["type"] = json!(name);
        format!("event: {name}\ndata: {data}\n\n")
    };
    let mut events = vec![
        event("message_start", json!({ "message": message(json!([]), Value::Null, 0) })),
        event("content_block_start", json!({ "index": 0, "content_block": { "type": "text", "text": "" } })),
    ];
    events.extend(reply.iter().map(|word| {
        event("content_block_delta", json!({ "index": 0, "delta": { "type": "text_delta", "text": word } }))
    }));
    let end = json!({ "delta": { "stop_reason": "end_turn", "stop_sequence": null },
        "usage": { "output_tokens": reply.len() } });
    events.push(event("content_block_stop", json!({ "index": 0 })));
    events.push(event("message_delta", end));
    events.push(event("message_stop", json!({})));
    words::events(events)
}

pub(super) async fn count_tokens(State(models): Models, body: Body) -> Response {
    match ModelRequest::read(&models, body, error).await {
        Ok(request) => json_response(StatusCode::OK, &json!({ "input_tokens": words::count(&request.body) })),
        Err(response) => response,
    }
}
