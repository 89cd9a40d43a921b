//! Steady traffic of every kind, and what came of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

use super::server::{BLOB, EVENTS};
use super::support::raw_backend::{Signal, soon};
use super::support::raw_client::{End, RawClient, get, post, post_with};

/// How many clients there are, each with one request at a time.
const CLIENTS: usize = 8;
/// The pause of a client between two requests.
const PAUSE: Duration = Duration::from_millis(25);
/// A slow sender's pause between two pieces, and a slow reader's.
const SLOWLY: Duration = Duration::from_millis(10);
const UPLOAD: usize = 256 << 10;
/// How many failures are kept to be shown.
const SHOWN_FAILURES: usize = 20;

/// What clients do, in turn.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A request with a small answer, on a connection that is kept; the answer must be right.
    Plain(&'static str),
    /// The same for a model that is not always there.
    Perhaps(&'static str),
    /// A stream; it must be complete.
    Stream(&'static str),
    /// A stream of a model whose server crashes.
    Fragile(&'static str),
    LeavesInStream,
    LeavesWaiting,
    LeavesUploading,
    Uploads,
    ReadsSlowly,
    SendsSlowly,
    Tunnel,
    Asks(&'static str, u16),
    Unknown,
    NoModel,
    Rubbish,
    SaysNothing,
}

const KINDS: &[Kind] = &[
    Kind::Plain("m"),
    Kind::Stream("twin"),
    Kind::Plain("twin"),
    Kind::Perhaps("ill"),
    Kind::LeavesInStream,
    Kind::Plain("renamed"),
    Kind::Uploads,
    Kind::Perhaps("crashing"),
    Kind::Stream("m"),
    Kind::Plain("kept"),
    Kind::LeavesWaiting,
    Kind::Fragile("crashing"),
    Kind::Unknown,
    Kind::ReadsSlowly,
    Kind::Stream("renamed"),
    Kind::Perhaps("even"),
    Kind::LeavesUploading,
    Kind::Plain("twin"),
    Kind::NoModel,
    Kind::SendsSlowly,
    Kind::Asks("/v1/models", 200),
    Kind::Tunnel,
    Kind::Asks("/nothing", 404),
    Kind::Stream("kept"),
    Kind::Rubbish,
    Kind::Asks("/status", 200),
    Kind::SaysNothing,
    Kind::Asks("/v1/models/twin", 200),
];

/// What came of all requests.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    pub requests: usize,
    /// Ends that are as they should be, by kind.
    pub ends: BTreeMap<String, usize>,
    pub failures: usize,
    pub first_failures: Vec<String>,
}

impl Tally {
    /// Answers the connection, if it can be used again.
    fn count(&mut self, ended: Ended) -> Option<RawClient> {
        self.requests += 1;
        match ended {
            Ok((end, client)) => {
                *self.ends.entry(end).or_default() += 1;
                client
            }
            Err(failure) => {
                self.failures += 1;
                if self.first_failures.len() < SHOWN_FAILURES {
                    self.first_failures.push(failure);
                }
                None
            }
        }
    }
}

pub struct Traffic {
    over: Signal,
    clients: JoinSet<()>,
    tally: Arc<Mutex<Tally>>,
}

impl Traffic {
    pub fn begin(proxy: SocketAddr) -> Self {
        let (over, tally) = (Signal::new(), Arc::new(Mutex::new(Tally::default())));
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(ask_on(proxy, client * 5, over.clone(), Arc::clone(&tally)));
        }
        Self { over, clients, tally }
    }

    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap().clone()
    }

    /// Lets every client finish what it does.
    pub async fn end(mut self) -> Tally {
        self.over.give();
        while self.clients.join_next().await.is_some() {}
        self.tally()
    }
}

async fn ask_on(proxy: SocketAddr, first: usize, over: Signal, tally: Arc<Mutex<Tally>>) {
    let mut kept = None;
    for kind in KINDS.iter().cycle().skip(first) {
        if over.is_given() {
            return;
        }
        let taken = kept.take();
        // A task of its own, so that what fails a client does not end the traffic.
        let ended = tokio::spawn(one(*kind, proxy, taken)).await;
        let ended = ended.map_err(|panic| format!("{kind:?}: {panic}")).and_then(|end| end);
        kept = tally.lock().unwrap().count(ended);
        tokio::time::sleep(PAUSE).await;
    }
}

/// How a request ended, and the connection if it can be used again.
type Ended = Result<(String, Option<RawClient>), String>;

async fn one(kind: Kind, proxy: SocketAddr, kept: Option<RawClient>) -> Ended {
    let new = RawClient::connect(proxy);
    match kind {
        Kind::Plain(model) => plain(kept, proxy, model, &[200]).await,
        Kind::Perhaps(model) => plain(kept, proxy, model, &[200, 404, 502, 503]).await,
        Kind::Stream(model) => streamed(new.await, model, true).await,
        Kind::Fragile(model) => streamed(new.await, model, false).await,
        Kind::Uploads => uploads(new.await).await,
        Kind::ReadsSlowly => reads_slowly(proxy).await,
        Kind::SendsSlowly => sends_slowly(new.await).await,
        Kind::Tunnel => tunnel(new.await).await,
        Kind::LeavesInStream | Kind::LeavesWaiting | Kind::LeavesUploading => leaves(new.await, kind).await,
        Kind::Asks(path, status) => expect(&mut new.await, get(path), status, path).await,
        Kind::Unknown => expect(&mut new.await, post("/v1/x", r#"{"model":"nobody/has"}"#), 404, "unknown model").await,
        Kind::NoModel => expect(&mut new.await, post("/v1/x", "{}"), 400, "no model").await,
        Kind::Rubbish => expect(&mut new.await, "rubbish\r\n\r\n", 400, "rubbish").await,
        Kind::SaysNothing => {
            drop(new.await);
            Ok(("said nothing".to_owned(), None))
        }
    }
}

fn body(model: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[]}}"#)
}

/// Asks on the connection that was kept, or on a new one.
async fn plain(kept: Option<RawClient>, proxy: SocketAddr, model: &str, may_be: &[u16]) -> Ended {
    let mut client = match kept {
        Some(client) => client,
        None => RawClient::connect(proxy).await,
    };
    let body = body(model);
    client.send(post("/v1/x", &body)).await;
    let answer = client.answer().await.ok_or_else(|| format!("plain {model}: no answer"))?;
    let right = answer.status != 200 || answer.text() == body.len().to_string() && answer.end == End::Complete;
    match right && may_be.contains(&answer.status) {
        true => {
            let again = answer.end == End::Complete && answer.header("connection") != Some("close");
            Ok((format!("plain {model} {}", answer.status), again.then_some(client)))
        }
        false => Err(format!("plain {model}: {answer:?}")),
    }
}

async fn streamed(mut client: RawClient, model: &str, must: bool) -> Ended {
    client.send(post("/v1/stream", &body(model))).await;
    let answer = client.answer().await.ok_or_else(|| format!("stream {model}: no answer"))?;
    let whole =
        answer.status == 200 && answer.end == End::Complete && answer.text().matches("data: ").count() == EVENTS;
    match (whole, answer.status, answer.end) {
        (true, ..) => Ok((format!("stream {model} complete"), None)),
        (false, 200, End::Fin | End::Reset) if !must => Ok((format!("stream {model} broken"), None)),
        (false, status @ (404 | 502 | 503), _) if !must => Ok((format!("stream {model} {status}"), None)),
        _ => Err(format!("stream {model}: {answer:?}")),
    }
}

async fn leaves(mut client: RawClient, kind: Kind) -> Ended {
    match kind {
        Kind::LeavesInStream => {
            client.send(post("/v1/stream", &body("m"))).await;
            client.head().await.ok_or("no answer to leave")?;
            client.next_chunk().await.map_err(|end| format!("{end:?} before it left"))?;
        }
        Kind::LeavesWaiting => {
            client.send(post("/v1/late", &body("m"))).await;
            tokio::time::sleep(SLOWLY).await;
        }
        _ => {
            client
                .send("POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-length: 99999\r\n\r\n{\"model\":\"m\",\"x\":\"")
                .await;
            tokio::time::sleep(SLOWLY).await;
        }
    }
    Ok((format!("{kind:?}"), None))
}

async fn uploads(mut client: RawClient) -> Ended {
    let body = format!(r#"{{"model":"m","x":"{}"}}"#, "x".repeat(UPLOAD));
    client.send(post("/v1/x", &body)).await;
    let answer = client.answer().await.ok_or("upload: no answer")?;
    match answer.status == 200 && answer.text() == body.len().to_string() {
        true => Ok(("upload 200".to_owned(), None)),
        false => Err(format!("upload: {answer:?}")),
    }
}

async fn reads_slowly(proxy: SocketAddr) -> Ended {
    const ROOM: u32 = 4096;
    let connected = RawClient::connect_with_room(proxy, ROOM).await;
    let mut client = connected.map_err(|error| format!("slow reader: {error}"))?;
    client.send(post_with("/v1/blob", "connection: close\r\n", &body("m"))).await;
    let (mut read, mut piece) = (0, vec![0; 16 << 10]);
    loop {
        match soon("bytes for a slow reader", client.stream.read(&mut piece)).await {
            Ok(0) if read > BLOB => return Ok(("slow reader complete".to_owned(), None)),
            Ok(count) if count > 0 => read += count,
            ended => return Err(format!("slow reader: {ended:?} after {read} bytes")),
        }
        tokio::time::sleep(SLOWLY).await;
    }
}

async fn sends_slowly(mut client: RawClient) -> Ended {
    let request = post("/v1/x", &body("m"));
    for piece in request.as_bytes().chunks(24) {
        client.send(piece).await;
        tokio::time::sleep(SLOWLY).await;
    }
    let answer = client.answer().await.ok_or("slow sender: no answer")?;
    match answer.status {
        200 => Ok(("slow sender 200".to_owned(), None)),
        _ => Err(format!("slow sender: {answer:?}")),
    }
}

async fn tunnel(mut client: RawClient) -> Ended {
    let head = "GET /v1/realtime?model=m HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    client.send(head).await;
    let answer = client.head().await.ok_or("tunnel: no answer")?;
    if answer.status != 101 {
        return Err(format!("tunnel: {answer:?}"));
    }
    client.send("ping.").await;
    match client.through(b"ping.").await {
        Ok(_) => Ok(("tunnel".to_owned(), None)),
        Err(end) => Err(format!("tunnel: {end:?}")),
    }
}

async fn expect(client: &mut RawClient, request: impl AsRef<[u8]>, status: u16, what: &str) -> Ended {
    client.send(request).await;
    let answer = client.answer().await.ok_or_else(|| format!("{what}: no answer"))?;
    match answer.status == status {
        true => Ok((format!("{what} {status}"), None)),
        false => Err(format!("{what}: {answer:?}")),
    }
}
