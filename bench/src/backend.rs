//! The mock backend: cheap on purpose, told by the bench in the same process what to answer.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep_until, timeout};

use crate::traffic;

/// How much is read at once of a body that nobody looks at.
const READ_BYTES: usize = 64 * 1024;
/// The largest head that is taken.
const HEAD_MAX_BYTES: usize = 64 * 1024;

/// What the backend answers to a request for a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// A small JSON object.
    Json,
    /// A stream of so many events, each in a write of its own, with this much time between two.
    Events {
        /// How many.
        count: usize,
        /// The time from one to the next; zero means as fast as they go.
        gap: Duration,
    },
    /// A stream of so many bursts, each one write of `size` events. The next one goes out when the last was read.
    Bursts {
        /// How many bursts.
        count: usize,
        /// How many events each.
        size: usize,
    },
    /// One event, and then nothing: the stream stays open.
    Held,
}

/// How many backends serve the first model, for what a choice among them costs.
pub const REPLICAS: usize = 8;

/// The two backends, and the replicas of the first. They end with the process.
#[derive(Clone)]
pub struct Backends {
    state: Arc<State>,
    ports: [u16; 2],
    replicas: Vec<u16>,
}

struct State {
    answers: Mutex<Answers>,
    idle_close: Mutex<Option<Duration>>,
    read: Semaphore,
}

impl Backends {
    /// Starts them on free ports of the loopback, on a thread of their own.
    ///
    /// # Errors
    /// The system gives no ports or no thread.
    pub fn start() -> io::Result<Self> {
        let listeners = [std::net::TcpListener::bind("127.0.0.1:0")?, std::net::TcpListener::bind("127.0.0.1:0")?];
        let ports = [listeners[0].local_addr()?.port(), listeners[1].local_addr()?.port()];
        let others: Vec<_> =
            (1..REPLICAS).map(|_| std::net::TcpListener::bind("127.0.0.1:0")).collect::<io::Result<_>>()?;
        let mut replicas = ports.to_vec();
        for other in &others {
            replicas.push(other.local_addr()?.port());
        }
        let state = Arc::new(State {
            answers: Mutex::new(Answers::Json),
            idle_close: Mutex::new(None),
            read: Semaphore::new(0),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = Arc::clone(&state);
        std::thread::Builder::new().name("backends".into()).spawn(move || {
            let accepting = async move {
                let [first, second] = listeners;
                for other in others {
                    tokio::spawn(accept(other, traffic::MODELS[0], Arc::clone(&serving)));
                }
                tokio::join!(
                    accept(first, traffic::MODELS[0], Arc::clone(&serving)),
                    accept(second, traffic::MODELS[1], serving)
                )
            };
            let (first, second) = runtime.block_on(accepting);
            eprintln!("bench: the mock backends ended: {first:?} {second:?}");
        })?;
        Ok(Self { state, ports, replicas })
    }

    /// Their ports.
    pub fn ports(&self) -> [u16; 2] {
        self.ports
    }

    /// The ports of both backends and of the replicas of the first.
    pub fn replicas(&self) -> &[u16] {
        &self.replicas
    }

    /// What they answer from here on.
    pub fn answer(&self, answers: Answers) {
        *self.state.answers.lock().unwrap_or_else(PoisonError::into_inner) = answers;
    }

    /// After how long they close connections that are idle, as uvicorn does after 5 s; `None` is never.
    pub fn close_idle_after(&self, time: Option<Duration>) {
        *self.state.idle_close.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }

    /// A burst was read at the other end: the next may go out.
    pub fn burst_was_read(&self) {
        self.state.read.add_permits(1);
    }
}

async fn accept(listener: std::net::TcpListener, model: &'static str, state: Arc<State>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (socket, _) = listener.accept().await?;
        let state = Arc::clone(&state);
        // How a connection ends is seen at its other end.
        tokio::spawn(async move { serve(socket, model, &state).await });
    }
}

async fn serve(mut socket: TcpStream, model: &str, state: &State) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let small = traffic::small_answer();
    let mut buffer = Vec::with_capacity(1024);
    loop {
        let idle_close = *state.idle_close.lock().unwrap_or_else(PoisonError::into_inner);
        let read = read_head(&mut socket, &mut buffer);
        let head_bytes = match idle_close {
            Some(time) => timeout(time, read).await??,
            None => read.await?,
        };
        let Some(head_bytes) = head_bytes else { return Ok(()) };
        let head = String::from_utf8_lossy(buffer.get(..head_bytes).unwrap_or_default()).to_ascii_lowercase();
        buffer.drain(..head_bytes);
        drain_body(&mut socket, &mut buffer, &head).await?;
        if head.starts_with("get ") {
            socket.write_all(&traffic::json_answer(&about(&head, model))).await?;
            continue;
        }
        let answers = *state.answers.lock().unwrap_or_else(PoisonError::into_inner);
        match answers {
            Answers::Json => socket.write_all(&small).await?,
            streamed => stream(&mut socket, streamed, state).await?,
        }
    }
}

/// What the routers ask for before they route.
pub fn about(head: &str, model: &str) -> String {
    match head.split(' ').nth(1).unwrap_or_default() {
        path if path.contains("/models") => {
            format!("{{\"object\":\"list\",\"data\":[{{\"id\":\"{model}\",\"object\":\"model\",\"created\":1}}]}}")
        }
        path if path.contains("info") => format!("{{\"model_path\":\"{model}\",\"model_id\":\"{model}\"}}"),
        _ => "{\"status\":\"ok\"}".to_owned(),
    }
}

/// Reads up to the end of a head and says how long it is; `None` when the other end closed.
pub async fn read_head(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
    loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            return Ok(Some(at + 4));
        }
        if buffer.len() > HEAD_MAX_BYTES {
            return Err(io::Error::other("a head that does not end"));
        }
        if socket.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Reads a body to its end. With a length, as all have that the bench or a router sends here; one in chunks is an error.
pub async fn read_body(socket: &mut TcpStream, buffer: &mut Vec<u8>, head: &str) -> io::Result<Vec<u8>> {
    let Some(length) = header(head, "content-length:").and_then(|length| length.parse().ok()) else {
        return match header(head, "transfer-encoding:") {
            None => Ok(Vec::new()),
            Some(coding) => Err(io::Error::other(format!("a body without a length: {coding}"))),
        };
    };
    while buffer.len() < length {
        if socket.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(buffer.drain(..length).collect())
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

async fn drain_body(socket: &mut TcpStream, buffer: &mut Vec<u8>, head: &str) -> io::Result<()> {
    if header(head, "transfer-encoding:").is_some_and(|coding| coding.contains("chunked")) {
        return drain_chunked(socket, buffer).await;
    }
    let mut left: usize = header(head, "content-length:").and_then(|length| length.parse().ok()).unwrap_or(0);
    let here = left.min(buffer.len());
    buffer.drain(..here);
    left -= here;
    let mut room = Vec::new();
    while left > 0 {
        room.resize(READ_BYTES.min(left), 0);
        let read = socket.read(&mut room).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left -= read;
    }
    Ok(())
}

/// Looks only for what ends it: the bodies of the bench never hold an empty line.
async fn drain_chunked(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    loop {
        if buffer.ends_with(b"0\r\n\r\n") {
            buffer.clear();
            return Ok(());
        }
        let from = buffer.len().saturating_sub(8);
        buffer.drain(..from);
        if socket.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn stream(socket: &mut TcpStream, answers: Answers, state: &State) -> io::Result<()> {
    socket.write_all(traffic::STREAM_HEAD).await?;
    match answers {
        Answers::Json => {}
        Answers::Events { count, gap } => {
            let mut next = tokio::time::Instant::now();
            for sent in 0..count {
                if !gap.is_zero() && sent > 0 {
                    next += gap;
                    sleep_until(next).await;
                }
                socket.write_all(&traffic::event_chunk()).await?;
            }
        }
        Answers::Bursts { count, size } => {
            for _ in 0..count {
                let burst: Vec<u8> = (0..size).flat_map(|_| traffic::event_chunk()).collect();
                socket.write_all(&burst).await?;
                if let Ok(permit) = state.read.acquire().await {
                    permit.forget();
                }
            }
        }
        Answers::Held => {
            socket.write_all(&traffic::event_chunk()).await?;
            // Until the other end leaves.
            let mut byte = [0; 1];
            let _ = socket.read(&mut byte).await?;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
    }
    socket.write_all(traffic::LAST_CHUNK).await
}
