//! Responses of the OpenAI API.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::{ModelRequest, json_response, words};

const CREATED: u64 = 1_700_000_000;
/// The dimensions of an embedding.
const DIMENSIONS: usize = 8;

type Models = State<Arc<[String]>>;

pub(super) async fn models(State(models): Models) -> Response {
    let one = |id: &String| json!({ "id": id, "object": "model", "created": CREATED, "owned_by": "sample" });
    json_response(StatusCode::OK, &json!({ "object": "list", "data": models.iter().map(one).collect::<Vec<_>>() }))
}

fn error(message: &str) -> Value {
    json!({ "error": { "message": message, "type": "invalid_request_error", "param": null, "code": null } })
}

fn usage(request: &ModelRequest, reply: usize) -> Value {
    let prompt = words::count(&request.body);
    json!({ "prompt_tokens": prompt, "completion_tokens": reply, "total_tokens": prompt + reply })
}

pub(super) async fn chat(State(models): Models, body: Body) -> Response {
    let request = match ModelRequest::read(&models, body, error).await {
        Ok(request) => request,
        Err(response) => return response,
    };
    let reply = words::reply(&request.model, &request.body);
    let shape = |object: &str, choices: Value| json!({ "id": "chatcmpl-sample", "object": object, "created": CREATED, "model": request.model, "choices": choices });
    if !request.is_streaming() {
        let message = json!({ "role": "assistant", "content": reply.concat() });
        let choices = json!([{ "index": 0, "message": message, "logprobs": null, "finish_reason": "stop" }]);
        let mut response = shape("chat.completion", choices);
        response["usage"] = usage(&request, reply.len());
        return json_response(StatusCode::OK, &response);
    }
    let chunk = |delta: Value, finish: Value| {
        let choices = json!([{ "index": 0, "delta": delta, "finish_reason": finish }]);
        format!("data: {}\n\n", shape("chat.completion.chunk", choices))
    };
    let mut events = vec![chunk(json!({ "role": "assistant", "content": "" }), Value::Null)];
    events.extend(reply.iter().map(|word| chunk(json!({ "content": word }), Value::Null)));
    events.push(chunk(json!({}), json!("stop")));
    if request.body.pointer("/stream_options/include_usage").and_then(Value::as_bool) == Some(true) {
        let mut last = shape("chat.completion.chunk", json!([]));
        last["usage"] = usage(&request, reply.len());
        events.push(format!("data: {last}\n\n"));
    }
    events.push("data: [DONE]\n\n".to_owned());
    words::events(events)
}

pub(super) async fn completions(State(models): Models, body: Body) -> Response {
    let request = match ModelRequest::read(&models, body, error).await {
        Ok(request) => request,
        Err(response) => return response,
    };
    let reply = words::reply(&request.model, &request.body);
    let shape = |text: &str, finish: Value| {
        let choices = json!([{ "index": 0, "text": text, "logprobs": null, "finish_reason": finish }]);
        json!({ "id": "cmpl-sample", "object": "text_completion", "created": CREATED, "model": request.model,
            "choices": choices })
    };
    if !request.is_streaming() {
        let mut response = shape(&reply.concat(), json!("stop"));
        response["usage"] = usage(&request, reply.len());
        return json_response(StatusCode::OK, &response);
    }
    let mut events: Vec<_> = reply.iter().map(|word| format!("data: {}\n\n", shape(word, Value::Null))).collect();
    events.push(format!("data: {}\n\n", shape("", json!("stop"))));
    events.push("data: [DONE]\n\n".to_owned());
    words::events(events)
}

pub(super) async fn embeddings(State(models): Models, body: Body) -> Response {
    let request = match ModelRequest::read(&models, body, error).await {
        Ok(request) => request,
        Err(response) => return response,
    };
    let inputs = match request.body.get("input") {
        Some(Value::Array(all)) if all.iter().all(Value::is_string) => all.clone(),
        Some(one) => vec![one.clone()],
        None => return json_response(StatusCode::BAD_REQUEST, &error("input is missing")),
    };
    let data: Vec<_> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| json!({ "object": "embedding", "index": index, "embedding": embedding(input) }))
        .collect();
    let response = json!({ "object": "list", "data": data, "model": request.model, "usage": usage(&request, 0) });
    json_response(StatusCode::OK, &response)
}

/// Returns an embedding that depends on the text alone.
fn embedding(input: &Value) -> Vec<f64> {
    let text = input.to_string();
    let number = |place: usize| {
        let sum = text.bytes().fold(place as u64 + 1, |sum, byte| (sum * 31 + u64::from(byte)) % 2001);
        sum as f64 / 1000.0 - 1.0
    };
    (0..DIMENSIONS).map(number).collect()
}
