//! Which path is answered by whom, and the counting around it.

use crate::connection::{Connection, Gone};
use crate::request::Request;
use crate::state::{State, log};
use crate::{admin, anthropic, echo, openai, websocket};
use std::sync::Arc;
use std::time::Duration;

/// Answers one request. An error ends the connection.
pub fn serve(state: &Arc<State>, to: &mut Connection, mut head: Request) -> Result<(), Gone> {
    let path = head.path().to_owned();
    let api = path
        .strip_prefix(state.settings.base_path.as_str())
        .filter(|rest| rest.starts_with('/') && path != "/health" && !is_own(&path));
    let Some(api) = api else {
        head.body = to.body(&head)?;
        return admin::serve(state, to, &head, &path);
    };
    let number = state.began();
    log(&format!("request {number} {} {}", head.method, head.target));
    if let Some(wait) = head.query_number("read_delay_ms") {
        std::thread::sleep(Duration::from_millis(wait));
    }
    let done = to.body(&head).and_then(|body| {
        head.body = body;
        answer(state, to, &head, api)
    });
    state.ended(done.is_ok());
    log(&format!("request {number} {}", if done.is_ok() { "finished" } else { "aborted" }));
    done
}

fn is_own(path: &str) -> bool {
    path == "/stats" || path.starts_with("/admin/")
}

/// Every answer of the API proper; `path` is without the base path.
fn answer(state: &State, to: &mut Connection, request: &Request, path: &str) -> Result<(), Gone> {
    if let Some(status) = request.query_number("status") {
        let body = r#"{"error":{"message":"failed as asked","type":"mock_error","param":null,"code":null}}"#;
        return to.json(u16::try_from(status).unwrap_or(500), body);
    }
    match (request.method.as_str(), path) {
        ("GET", "/models") => openai::models(state, to),
        ("POST", "/chat/completions") => openai::chat(state, to, request),
        ("POST", "/completions") => openai::completion(state, to, request),
        ("POST", "/responses") => openai::responses(state, to, request),
        ("POST", "/embeddings") => openai::embeddings(state, to, request),
        ("POST", "/audio/transcriptions") => echo::transcription(to, request),
        ("POST", "/messages") => anthropic::messages(state, to, request),
        ("POST", "/messages/count_tokens") => anthropic::count_tokens(to, request),
        ("GET", "/realtime") => websocket::serve(to, request),
        (_, "/blob") => echo::blob(to, request),
        (_, other) if other == "/echo" || other.starts_with("/echo/") => echo::echo(to, request),
        _ => {
            let body = r#"{"error":{"message":"no such path","type":"NotFoundError","param":null,"code":404}}"#;
            to.json(404, body)
        }
    }
}
