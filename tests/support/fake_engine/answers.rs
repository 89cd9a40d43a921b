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
        Mood::UnexpectedResponse => Some(plain(StatusCode::OK, "<html>welcome</html>".to_owned())),
        Mood::OddJson => Some(plain(StatusCode::OK, "{\"message\":{}}".to_owned())),
        Mood::Forbids => Some(plain(StatusCode::FORBIDDEN, "Forbidden".to_owned())),
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
            let (podman, mood) = {
                let state = state.lock().unwrap();
                (state.podman, state.ping_mood)
            };
            if let Some(answer) = in_mood(mood).await {
                return Ok(answer);
            }
            let mut answer = plain(StatusCode::OK, "OK".to_owned());
            if podman {
                answer.headers_mut().insert("libpod-api-version", "5.8.6".parse().unwrap());
            }
            answer
        }
        "/version" => {
            let version = state.lock().unwrap().version.clone().unwrap_or_else(|| "20.10.24".to_owned());
            plain(StatusCode::OK, json!({"Version": version, "ApiVersion": "1.99"}).to_string())
        }
        "/events" => events(&state, &query).await,
        "/containers/json" => list(&state, &query).await,
        _ => match path.strip_prefix("/containers/").and_then(|rest| rest.strip_suffix("/json")) {
            Some(id) => inspect(&state, id).await,
            None => plain(StatusCode::NOT_FOUND, json!({"message": "page not found"}).to_string()),
        },
    })
}

async fn events(state: &Mutex<State>, query: &str) -> Answer {
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)).map(str::to_owned);
    let (since, until) = (value("since="), value("until="));
    if let Some(until) = until {
        return replay(state, since, &until).await;
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    let headless = {
        let mut state = state.lock().unwrap();
        if let Some(since) = &since {
            let from = nanos(since);
            for (_, line) in state.remembered().iter().filter(|(at, _)| *at >= from) {
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

/// The events between two times that it remembers, and no more.
async fn replay(state: &Mutex<State>, since: Option<String>, until: &str) -> Answer {
    let (from, until) = (since.as_deref().map_or(0, nanos), nanos(until));
    let (mood, lines) = {
        let mut state = state.lock().unwrap();
        state.replays.push(since);
        let over = state.remembered().iter().filter(|(at, _)| *at >= from && *at <= until);
        let lines: String = over.map(|(_, line)| line.as_str()).collect();
        (state.replay_mood, lines)
    };
    in_mood(mood).await.unwrap_or_else(|| plain(StatusCode::OK, lines))
}

fn nanos(time: &str) -> u64 {
    let (seconds, nanos) = time.split_once('.').expect("times have nanoseconds");
    seconds.parse::<u64>().unwrap() * 1_000_000_000 + nanos.parse::<u64>().unwrap()
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
    assert!(query.contains("inference.enable%22"), "{query}");
    let answer = {
        let state = state.lock().unwrap();
        state.list_answer.clone().unwrap_or_else(|| {
            let labelled = state.containers.values().filter(|c| c.labels.contains_key("inference.enable"));
            Value::from(labelled.map(summary).collect::<Vec<_>>()).to_string()
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
