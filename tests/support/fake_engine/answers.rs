//! What the engine answers to each request of its API.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Mood;
use super::json::{inspected, summary};
use super::state::State;

type Answer = Response<BoxBody<Bytes, Infallible>>;

fn plain(status: StatusCode, text: String) -> Answer {
    Response::builder()
        .status(status)
        .header("server", "Docker/fake (linux)")
        .body(Full::new(Bytes::from(text)).boxed())
        .unwrap()
}

async fn in_mood(mood: Option<Mood>) -> Option<Answer> {
    match mood.unwrap_or(Mood::Well) {
        Mood::Well => None,
        Mood::Hangs => std::future::pending().await,
        Mood::Rubbish => Some(plain(StatusCode::OK, "<html>welcome</html>".to_owned())),
        Mood::OddJson => Some(plain(StatusCode::OK, "{\"message\":{}}".to_owned())),
        Mood::Fails => Some(plain(StatusCode::INTERNAL_SERVER_ERROR, "{\"message\":\"it hurts\"}".to_owned())),
    }
}

/// Answers one request, in the engine's present mood.
pub(super) async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let mood = state.lock().unwrap().mood;
    if let Some(answer) = in_mood(mood).await {
        return Ok(answer);
    }
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    Ok(match path.as_str() {
        "/_ping" => {
            let podman = state.lock().unwrap().podman;
            let mut answer = plain(StatusCode::OK, "OK".to_owned());
            if podman {
                answer.headers_mut().insert("libpod-api-version", "5.8.6".parse().unwrap());
            }
            answer
        }
        "/version" => plain(StatusCode::OK, json!({"Version": "99.9", "ApiVersion": "1.99"}).to_string()),
        "/events" => events(&state, &query).await,
        "/containers/json" => list(&state, &query).await,
        _ => match path.strip_prefix("/containers/").and_then(|rest| rest.strip_suffix("/json")) {
            Some(id) => inspect(&state, id).await,
            None => plain(StatusCode::NOT_FOUND, json!({"message": "page not found"}).to_string()),
        },
    })
}

async fn events(state: &Mutex<State>, query: &str) -> Answer {
    let since = query.split('&').find_map(|pair| pair.strip_prefix("since=")).map(str::to_owned);
    let (sender, receiver) = mpsc::unbounded_channel();
    let headless = {
        let mut state = state.lock().unwrap();
        if let Some(since) = &since {
            let (seconds, nanos) = since.split_once('.').expect("since has nanoseconds");
            let from = seconds.parse::<u64>().unwrap() * 1_000_000_000 + nanos.parse::<u64>().unwrap();
            let remembered = state.log.len().saturating_sub(256);
            for (_, line) in state.log[remembered..].iter().filter(|(at, _)| *at >= from) {
                sender.send(Bytes::from(line.clone())).unwrap();
            }
        }
        state.subscriptions.push(since);
        state.listeners.push(sender);
        state.headless_events
    };
    let mut lines = Box::pin(futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|line| (line, receiver))
    }))
    .peekable();
    if headless {
        std::pin::Pin::new(&mut lines).peek().await;
    }
    let body = StreamBody::new(lines.map(|line| Ok::<_, Infallible>(Frame::data(line))));
    Response::new(BodyExt::boxed(SyncBody(Mutex::new(Box::pin(body)))))
}

/// Makes a body that is only `Send` shareable, as `BoxBody` wants it.
struct SyncBody<B>(Mutex<std::pin::Pin<Box<B>>>);

impl<B: hyper::body::Body> hyper::body::Body for SyncBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.0.lock().unwrap().as_mut().poll_frame(cx)
    }
}

async fn list(state: &Mutex<State>, query: &str) -> Answer {
    let (mood, delay) = {
        let mut state = state.lock().unwrap();
        state.lists += 1;
        (state.list_mood, state.list_delay)
    };
    if let Some(answer) = in_mood(mood).await {
        return answer;
    }
    assert!(query.contains("all=1"), "{query}");
    assert!(query.contains("inference.enable%3Dtrue"), "{query}");
    let answer = {
        let state = state.lock().unwrap();
        state.list_answer.clone().unwrap_or_else(|| {
            let opted_in =
                state.containers.values().filter(|c| c.labels.get("inference.enable").is_some_and(|v| v == "true"));
            Value::from(opted_in.map(summary).collect::<Vec<_>>()).to_string()
        })
    };
    tokio::time::sleep(delay).await;
    plain(StatusCode::OK, answer)
}

async fn inspect(state: &Mutex<State>, id: &str) -> Answer {
    let (mood, delay, gate, answer) = {
        let mut state = state.lock().unwrap();
        *state.inspects.entry(id.to_owned()).or_default() += 1;
        state.inspects_now += 1;
        state.inspects_peak = state.inspects_peak.max(state.inspects_now);
        let answer = match state.containers.get(id) {
            Some(container) => plain(StatusCode::OK, inspected(container).to_string()),
            None => plain(StatusCode::NOT_FOUND, json!({"message": format!("No such container: {id}")}).to_string()),
        };
        (state.inspect_mood.get(id).copied(), state.inspect_delay, state.held.get(id).cloned(), answer)
    };
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    if let Some(gate) = gate {
        gate.notified().await;
    }
    state.lock().unwrap().inspects_now -= 1;
    in_mood(mood).await.unwrap_or(answer)
}
