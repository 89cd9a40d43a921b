//! What is not the API: `/health`, `/stats`, and the switches under `/admin/`.

use crate::connection::{Connection, Gone};
use crate::request::Request;
use crate::settings::list;
use crate::state::{Health, State, log};
use std::time::Duration;

/// How long a hanging health check hangs.
const HANG: Duration = Duration::from_secs(3600);
/// `/admin/oom` gives up here, for a container without a memory limit.
const OOM_LIMIT: usize = 1 << 30;
const OOM_STEP: usize = 1 << 20;

/// Answers, or ends the process.
pub fn serve(state: &State, to: &mut Connection, request: &Request, path: &str) -> Result<(), Gone> {
    match path {
        "/health" => health(state, to),
        "/stats" => to.json(200, &state.stats()),
        "/admin/crash" => {
            let code = request.query_number("code").or_else(|| request.query().parse().ok());
            log("crashes as told");
            std::process::exit(code.and_then(|code| i32::try_from(code).ok()).unwrap_or(1));
        }
        "/admin/abort" => {
            log("aborts as told");
            std::process::abort();
        }
        "/admin/oom" => {
            oom();
            to.json(500, r#"{"error":"no memory limit was met"}"#)
        }
        "/admin/health" => match request.query() {
            "ok" => set_health(state, to, Health::Ok),
            "fail" => set_health(state, to, Health::Fail),
            "hang" => set_health(state, to, Health::Hang),
            _ => to.json(400, r#"{"error":"ok, fail or hang"}"#),
        },
        "/admin/models" => {
            state.set_models(list(request.query()));
            to.json(200, "{}")
        }
        _ => to.json(404, r#"{"error":"no such path"}"#),
    }
}

fn health(state: &State, to: &mut Connection) -> Result<(), Gone> {
    match state.health() {
        Health::Ok => to.answer(200, "text/plain", b""),
        Health::Fail => to.answer(503, "text/plain", b"not ready\n"),
        Health::Hang => {
            to.wait(HANG)?;
            Err(Gone)
        }
    }
}

fn set_health(state: &State, to: &mut Connection, health: Health) -> Result<(), Gone> {
    state.set_health(health);
    to.json(200, "{}")
}

/// Fills memory, page by page, until the kernel ends the process.
fn oom() {
    log("fills its memory as told");
    let mut held: Vec<Vec<u8>> = Vec::new();
    while held.len() * OOM_STEP < OOM_LIMIT {
        held.push(vec![1; OOM_STEP]);
    }
    std::hint::black_box(&held);
}
