//! What lasts longer than every deadline of a request's head: tunnels, silence in a stream, kept connections.

use std::time::Duration;

use tokio::task::JoinSet;

use super::plan::{Body, How, ModelAt, Request, Segments, Server, Version};
use super::play::Log;
use super::run::Ground;
use super::support::dice::Dice;
use super::tunnel::{self, Ends, Plan, Side};
use super::wire::Wire;
use super::{bytes, response};

/// Longer than the 10 s in which a head has to come.
pub const LASTS: Duration = Duration::from_millis(11_500);
/// A talk that never pauses for long.
const TURNS: usize = 230;
const TURN_PAUSE: Duration = Duration::from_millis(50);
/// A body that the proxy has to drain before the next request.
const DRAINED: usize = 200_000;
/// How many short tunnels are drawn.
const DRAWN: usize = 40;

/// Plays all of them at once; returns what differed.
pub async fn all(ground: &Ground, seed: u64) -> Vec<String> {
    let mut running = JoinSet::new();
    for plan in tunnels() {
        let ground = ground.clone();
        running.spawn(async move {
            tunnel::both_ways(&ground, &plan, seed).await.map_err(|e| format!("a long tunnel: {e}"))
        });
    }
    let own = ground.clone();
    running.spawn(async move {
        let mut dice = Dice::new(seed ^ 0x7a11);
        for number in 0..DRAWN {
            let plan = tunnel::draw(&mut dice);
            tunnel::both_ways(&own, &plan, seed).await.map_err(|error| format!("tunnel {number}: {error}"))?;
        }
        Ok(())
    });
    for behind in ["", "G"] {
        let ground = ground.clone();
        running.spawn(async move { silence(&ground, behind).await });
    }
    let own = ground.clone();
    running.spawn(async move { kept_behind_an_error(&own).await });
    let mut wrong = Vec::new();
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(what)) => wrong.push(what),
            Err(panic) => wrong.push(panic.to_string()),
        }
    }
    wrong
}

/// Tunnels that are silent first, and tunnels in which one side, or each in turn, talks all the while.
fn tunnels() -> Vec<Plan> {
    let plan = |turns, pause, ender| Plan { early: 0, turns, pause, ender, ends: Ends::With(How::Fin) };
    let talk = |sides: [Side; 2]| (0..TURNS).map(|turn| (sides[turn % 2], 3)).collect::<Vec<_>>();
    use Side::{Client, Server};
    vec![
        plan(vec![(Client, 5)], LASTS, Client),
        plan(vec![(Server, 5)], LASTS, Server),
        plan(talk([Client, Client]), TURN_PAUSE, Server),
        plan(talk([Server, Server]), TURN_PAUSE, Client),
        plan(talk([Client, Server]), TURN_PAUSE, Client),
    ]
}

/// A response that is silent for long in its middle, for a client that has sent the beginning of its next request.
async fn silence(ground: &Ground, behind: &str) -> Result<(), String> {
    let what =
        |problem: &str| format!("a stream that is silent for {LASTS:?}, with {behind:?} behind its request: {problem}");
    let mut wire = connect(ground).await?;
    let request = format!("GET /v1/silent?model={} HTTP/1.1\r\nhost: storm\r\n\r\n{behind}", Server::Keeps.model());
    send(&mut wire, request.as_bytes()).await?;
    let head = response::final_head(&mut wire.incoming).await.map_err(|stop| what(&format!("{stop:?}")))?;
    let body = wire.incoming.through(b"0\r\n\r\n").await.map_err(|stop| what(&format!("{stop:?}")))?;
    if head.status != 200 || !body.ends_with(b"last\r\n0\r\n\r\n") {
        return Err(what("another response"));
    }
    let rest = &"GET /healthz HTTP/1.1\r\nhost: storm\r\n\r\n"[behind.len()..];
    send(&mut wire, rest.as_bytes()).await?;
    match response::final_head(&mut wire.incoming).await {
        Ok(head) if head.status == 200 => Ok(()),
        Ok(head) => Err(what(&format!("the next request got {}", head.status))),
        Err(stop) => Err(what(&format!("the next request got {stop:?}"))),
    }
}

/// The backend's part of it.
pub async fn be_silent(peer: &mut super::support::raw_backend::Peer) -> std::io::Result<()> {
    peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").await?;
    tokio::time::sleep(LASTS).await;
    peer.send("4\r\nlast\r\n0\r\n\r\n").await
}

/// A connection that stays behind an error of the proxy's own, whose request had a body, takes a request much later.
async fn kept_behind_an_error(ground: &Ground) -> Result<(), String> {
    let what =
        |problem: String| format!("a connection kept for {LASTS:?} behind a 404 with a body of {DRAINED}: {problem}");
    let mut wire = connect(ground).await?;
    let request = Request {
        method: "POST",
        version: Version::Http11,
        connection: None,
        body: Body::Length(DRAINED),
        model_at: ModelAt::First,
        segments: Segments::Odd,
        expects_continue: false,
        sends_all_first: true,
    };
    let model = Server::Unknown.model();
    let body = bytes::request_body(&request, model, 1);
    let (head, body) = bytes::request(&request, "/v1/x", model, &body, 1);
    send(&mut wire, &[head, body].concat()).await?;
    let head = response::final_head(&mut wire.incoming).await.map_err(|stop| what(format!("{stop:?}")))?;
    let length = head.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    wire.incoming.exactly(length).await.map_err(|stop| what(format!("{stop:?}")))?;
    if head.header("connection") == Some("close") {
        return wire.incoming.closed().await.map(drop).map_err(|stop| what(format!("{stop:?}")));
    }
    tokio::time::sleep(LASTS).await;
    send(&mut wire, b"GET /healthz HTTP/1.1\r\nhost: storm\r\n\r\n").await?;
    match response::final_head(&mut wire.incoming).await {
        Ok(head) if head.status == 200 => Ok(()),
        Ok(head) => Err(what(format!("the next request got {}", head.status))),
        Err(stop) => Err(what(format!("the next request got {stop:?}"))),
    }
}

async fn connect(ground: &Ground) -> Result<Wire, String> {
    Wire::connect(ground.proxy, false, &Log::new()).await.map_err(|error| format!("no connection: {error}"))
}

async fn send(wire: &mut Wire, bytes: &[u8]) -> Result<(), String> {
    wire.outgoing.send(bytes, Segments::AtOnce, 0).await.map_err(|stop| format!("{stop:?}"))
}
