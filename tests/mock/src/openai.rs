//! Answers in OpenAI's shapes: models, chat, completions, responses, embeddings.

use crate::connection::{Connection, Gone};
use crate::generate::Pace;
use crate::json::{Value, parse, quote};
use crate::request::Request;
use crate::state::State;

const CREATED: u64 = 1_700_000_000;

/// `GET /models`, with the further fields that vLLM and llama.cpp send.
pub fn models(state: &State, to: &mut Connection) -> Result<(), Gone> {
    let settings = &state.settings;
    to.wait(settings.models_delay)?;
    if let Some(body) = &settings.models_body {
        return to.json(settings.models_status, body);
    }
    let data: Vec<String> = state
        .models()
        .iter()
        .map(|id| {
            let id = quote(id);
            format!(
                r#"{{"id":{id},"object":"model","created":{CREATED},"owned_by":"mock","root":{id},"parent":null,"max_model_len":4096,"meta":{{"n_ctx_train":4096,"n_params":1000}}}}"#
            )
        })
        .collect();
    let body = format!(r#"{{"object":"list","data":[{}]}}"#, data.join(","));
    to.json(settings.models_status, &body)
}

/// The body and the quoted model of a request that this server takes; else it has been answered.
pub fn accept(state: &State, to: &mut Connection, request: &Request) -> Result<Option<(Value, String)>, Gone> {
    let Some(body) = parse(&request.body.kept) else {
        to.json(400, &error("the body is not JSON", 400))?;
        return Ok(None);
    };
    let model = body.get("model").and_then(Value::text).unwrap_or_default().to_owned();
    let known = state.settings.models_body.is_some() || state.models().contains(&model);
    if !known {
        to.json(404, &error(&format!("The model `{model}` does not exist."), 404))?;
        return Ok(None);
    }
    Ok(Some((body, quote(&model))))
}

fn error(message: &str, code: u16) -> String {
    let message = quote(message);
    format!(r#"{{"error":{{"message":{message},"type":"mock_error","param":"model","code":{code}}}}}"#)
}

/// `POST /chat/completions`.
pub fn chat(state: &State, to: &mut Connection, request: &Request) -> Result<(), Gone> {
    let Some((body, model)) = accept(state, to, request)? else {
        return Ok(());
    };
    let pace = Pace::of(&state.settings, request, &body);
    let head = |object| format!(r#""id":"chatcmpl-mock","object":"{object}","created":{CREATED},"model":{model}"#);
    if !streams(&body) {
        let text = quote(&pace.whole(to)?);
        let body = format!(
            r#"{{{},"choices":[{{"index":0,"message":{{"role":"assistant","content":{text}}},"logprobs":null,"finish_reason":"stop"}}],{}}}"#,
            head("chat.completion"),
            usage(pace.tokens)
        );
        return to.json(200, &body);
    }
    let head = head("chat.completion.chunk");
    let event = |delta: &str, finish: &str| {
        format!("data: {{{head},\"choices\":[{{\"index\":0,\"delta\":{{{delta}}},\"finish_reason\":{finish}}}]}}\n\n")
    };
    to.begin_chunks("text/event-stream")?;
    to.chunk(event(r#""role":"assistant","content":"""#, "null").as_bytes())?;
    pace.stream(to, |to, token| to.chunk(event(&format!("\"content\":{}", quote(token)), "null").as_bytes()))?;
    to.chunk(event("", "\"stop\"").as_bytes())?;
    let wants_usage = body.get("stream_options").and_then(|o| o.get("include_usage"));
    if wants_usage.is_some_and(Value::is_true) {
        let last = format!("data: {{{head},\"choices\":[],{}}}\n\n", usage(pace.tokens));
        to.chunk(last.as_bytes())?;
    }
    to.chunk(b"data: [DONE]\n\n")?;
    to.end_chunks()
}

/// `POST /completions`.
pub fn completion(state: &State, to: &mut Connection, request: &Request) -> Result<(), Gone> {
    let Some((body, model)) = accept(state, to, request)? else {
        return Ok(());
    };
    let pace = Pace::of(&state.settings, request, &body);
    let whole = |text: &str, finish: &str, more: &str| {
        format!(
            r#"{{"id":"cmpl-mock","object":"text_completion","created":{CREATED},"model":{model},"choices":[{{"index":0,"text":{},"logprobs":null,"finish_reason":{finish}}}]{more}}}"#,
            quote(text)
        )
    };
    if !streams(&body) {
        let text = pace.whole(to)?;
        return to.json(200, &whole(&text, "\"stop\"", &format!(",{}", usage(pace.tokens))));
    }
    to.begin_chunks("text/event-stream")?;
    pace.stream(to, |to, token| to.chunk(format!("data: {}\n\n", whole(token, "null", "")).as_bytes()))?;
    to.chunk(format!("data: {}\n\ndata: [DONE]\n\n", whole("", "\"stop\"", "")).as_bytes())?;
    to.end_chunks()
}

/// `POST /responses`: one message of text.
pub fn responses(state: &State, to: &mut Connection, request: &Request) -> Result<(), Gone> {
    let Some((body, model)) = accept(state, to, request)? else {
        return Ok(());
    };
    let pace = Pace::of(&state.settings, request, &body);
    let response = |status: &str, output: &str| {
        format!(
            r#"{{"id":"resp_mock","object":"response","created_at":{CREATED},"status":"{status}","model":{model},"output":[{output}],"parallel_tool_calls":true,"tool_choice":"auto","tools":[],"error":null,"incomplete_details":null,"instructions":null,"metadata":{{}},"temperature":1,"top_p":1,"usage":{{"input_tokens":1,"input_tokens_details":{{"cached_tokens":0}},"output_tokens":{0},"output_tokens_details":{{"reasoning_tokens":0}},"total_tokens":{1}}}}}"#,
            pace.tokens,
            pace.tokens + 1
        )
    };
    let message = |text: &str| {
        format!(
            r#"{{"type":"message","id":"msg_mock","status":"completed","role":"assistant","content":[{{"type":"output_text","text":{},"annotations":[]}}]}}"#,
            quote(text)
        )
    };
    if !streams(&body) {
        let text = pace.whole(to)?;
        return to.json(200, &response("completed", &message(&text)));
    }
    to.begin_chunks("text/event-stream")?;
    let mut number = 0;
    let mut send = |to: &mut Connection, kind: &str, fields: &str| {
        let event = format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{number},{fields}}}\n\n");
        number += 1;
        to.chunk(event.as_bytes())
    };
    let begun = format!("\"response\":{}", response("in_progress", ""));
    send(to, "response.created", &begun)?;
    let mut text = String::new();
    pace.stream(to, |to, token| {
        text.push_str(token);
        let fields = format!(
            r#""item_id":"msg_mock","output_index":0,"content_index":0,"logprobs":[],"delta":{}"#,
            quote(token)
        );
        send(to, "response.output_text.delta", &fields)
    })?;
    let ended = format!("\"response\":{}", response("completed", &message(&text)));
    send(to, "response.completed", &ended)?;
    to.end_chunks()
}

/// `POST /embeddings`: four numbers for each input, as floats or as Base64 of little-endian `f32`.
pub fn embeddings(state: &State, to: &mut Connection, request: &Request) -> Result<(), Gone> {
    let Some((body, model)) = accept(state, to, request)? else {
        return Ok(());
    };
    let count = match body.get("input") {
        Some(Value::List(items)) => items.len(),
        _ => 1,
    };
    let numbers = [0.5f32, -0.25, 0.125, 1.0];
    let base64 = body.get("encoding_format").and_then(Value::text) == Some("base64");
    let vector = if base64 {
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        quote(&crate::sha1::base64(&bytes))
    } else {
        format!("{numbers:?}")
    };
    let data: Vec<String> =
        (0..count).map(|i| format!(r#"{{"object":"embedding","index":{i},"embedding":{vector}}}"#)).collect();
    let body = format!(
        r#"{{"object":"list","data":[{}],"model":{model},"usage":{{"prompt_tokens":1,"total_tokens":1}}}}"#,
        data.join(",")
    );
    to.json(200, &body)
}

fn streams(body: &Value) -> bool {
    body.get("stream").is_some_and(Value::is_true)
}

fn usage(tokens: u64) -> String {
    format!(r#""usage":{{"prompt_tokens":1,"completion_tokens":{tokens},"total_tokens":{}}}"#, tokens + 1)
}
