//! Answers in OpenAI's shapes.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::{Asked, json_response, words};

/// When the models of a sample server were made.
const CREATED: u64 = 1_700_000_000;
/// How many numbers an embedding has.
const DIMENSIONS: usize = 8;

type Models = State<Arc<[String]>>;

pub(super) async fn models(State(models): Models) -> Response {
    let one = |id: &String| json!({ "id": id, "object": "model", "created": CREATED, "owned_by": "sample" });
    json_response(StatusCode::OK, &json!({ "object": "list", "data": models.iter().map(one).collect::<Vec<_>>() }))
}

fn error(message: &str) -> Value {
    json!({ "error": { "message": message, "type": "invalid_request_error", "param": null, "code": null } })
}

fn usage(asked: &Asked, said: usize) -> Value {
    let prompt = words::counted(&asked.body);
    json!({ "prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said })
}

pub(super) async fn chat(State(models): Models, body: Body) -> Response {
    let asked = match Asked::read(&models, body, error).await {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    let said = words::reply(&asked.model, &asked.body);
    let shape = |object: &str, choices: Value| json!({ "id": "chatcmpl-sample", "object": object, "created": CREATED, "model": asked.model, "choices": choices });
    if !asked.streams() {
        let message = json!({ "role": "assistant", "content": said.concat() });
        let choices = json!([{ "index": 0, "message": message, "logprobs": null, "finish_reason": "stop" }]);
        let mut answer = shape("chat.completion", choices);
        answer["usage"] = usage(&asked, said.len());
        return json_response(StatusCode::OK, &answer);
    }
    let chunk = |delta: Value, finish: Value| {
        let choices = json!([{ "index": 0, "delta": delta, "finish_reason": finish }]);
        format!("data: {}\n\n", shape("chat.completion.chunk", choices))
    };
    let mut events = vec![chunk(json!({ "role": "assistant", "content": "" }), Value::Null)];
    events.extend(said.iter().map(|word| chunk(json!({ "content": word }), Value::Null)));
    events.push(chunk(json!({}), json!("stop")));
    if asked.body.pointer("/stream_options/include_usage").and_then(Value::as_bool) == Some(true) {
        let mut last = shape("chat.completion.chunk", json!([]));
        last["usage"] = usage(&asked, said.len());
        events.push(format!("data: {last}\n\n"));
    }
    events.push("data: [DONE]\n\n".to_owned());
    words::events(events)
}

pub(super) async fn completions(State(models): Models, body: Body) -> Response {
    let asked = match Asked::read(&models, body, error).await {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    let said = words::reply(&asked.model, &asked.body);
    let shape = |text: &str, finish: Value| {
        let choices = json!([{ "index": 0, "text": text, "logprobs": null, "finish_reason": finish }]);
        json!({ "id": "cmpl-sample", "object": "text_completion", "created": CREATED, "model": asked.model,
            "choices": choices })
    };
    if !asked.streams() {
        let mut answer = shape(&said.concat(), json!("stop"));
        answer["usage"] = usage(&asked, said.len());
        return json_response(StatusCode::OK, &answer);
    }
    let mut events: Vec<_> = said.iter().map(|word| format!("data: {}\n\n", shape(word, Value::Null))).collect();
    events.push(format!("data: {}\n\n", shape("", json!("stop"))));
    events.push("data: [DONE]\n\n".to_owned());
    words::events(events)
}

pub(super) async fn embeddings(State(models): Models, body: Body) -> Response {
    let asked = match Asked::read(&models, body, error).await {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    let inputs = match asked.body.get("input") {
        Some(Value::Array(all)) if all.iter().all(Value::is_string) => all.clone(),
        Some(one) => vec![one.clone()],
        None => return json_response(StatusCode::BAD_REQUEST, &error("input is missing")),
    };
    let data: Vec<_> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| json!({ "object": "embedding", "index": index, "embedding": embedding(input) }))
        .collect();
    let answer = json!({ "object": "list", "data": data, "model": asked.model, "usage": usage(&asked, 0) });
    json_response(StatusCode::OK, &answer)
}

/// Numbers that depend on the text and on nothing else: the same text has the same ones.
fn embedding(input: &Value) -> Vec<f64> {
    let text = input.to_string();
    let number = |place: usize| {
        let sum = text.bytes().fold(place as u64 + 1, |sum, byte| (sum * 31 + u64::from(byte)) % 2001);
        sum as f64 / 1000.0 - 1.0
    };
    (0..DIMENSIONS).map(number).collect()
}
