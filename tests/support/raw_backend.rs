//! A scripted TCP server: it does on the wire what a test says, byte for byte, also what no HTTP library would do.
//!
//! Start it with a script that plays once per connection. The script reads and writes through its [`Peer`]. When it
//! returns, the connection is closed in order; [`Peer::reset`] breaks it. Everything ends when the backend is dropped.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a test waits for something that must happen.
pub const SOON: Duration = Duration::from_secs(5);

/// Awaits `what`; fails the test when it does not come [`SOON`].
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {SOON:?} for {what}"),
    }
}

/// A signal that a test gives to a script, or a script to a test. It stays given.
#[derive(Clone)]
pub struct Signal(watch::Sender<bool>);

impl Default for Signal {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Signal {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn give(&self) {
        self.0.send_replace(true);
    }

    pub fn is_given(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for it for as long as it takes.
    pub async fn until_given(&self) {
        let _ = self.0.subscribe().wait_for(|given| *given).await;
    }

    pub async fn given(&self) {
        let _ = soon("a signal", self.0.subscribe().wait_for(|given| *given)).await;
    }
}

/// A request as it stood on the wire.
#[derive(Clone, PartialEq, Eq)]
pub struct RawRequest {
    /// The head, with its line ends, with the empty line.
    pub head: String,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// The trailer lines of a chunked body.
    pub trailers: String,
    /// Which connection it came on, from 0.
    pub connection: usize,
}

impl RawRequest {
    /// `GET /path HTTP/1.1`.
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// The header lines in their order, as they are.
    pub fn headers(&self) -> Vec<&str> {
        self.head.lines().skip(1).filter(|line| !line.is_empty()).collect()
    }

    /// The first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

impl fmt::Debug for RawRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {:?} + {} bytes", self.connection, self.head, self.body.len())
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (n, value) = line.split_once(':')?;
        n.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// How the other side ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Fin,
    Reset,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    open: usize,
    requests: Vec<RawRequest>,
}

/// The server.
pub struct RawBackend {
    address: SocketAddr,
    seen: watch::Sender<()>,
    state: Arc<Mutex<Seen>>,
    tasks: JoinSet<()>,
}

impl RawBackend {
    /// Starts it on a free port of the loopback address; `script` plays for every connection.
    pub async fn start<F, Fut>(script: F) -> Self
    where
        F: Fn(Peer) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<()>> + Send + 'static,
    {
        Self::start_on("127.0.0.1:0".parse().unwrap(), script).await
    }

    /// Starts it on this address, which may just have been another backend's.
    pub async fn start_on<F, Fut>(address: SocketAddr, script: F) -> Self
    where
        F: Fn(Peer) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = listen(address, 1024);
        let address = listener.local_addr().unwrap();
        let (seen, state) = (watch::Sender::new(()), Arc::new(Mutex::new(Seen::default())));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, seen.clone(), Arc::clone(&state), script));
        Self { address, seen, state, tasks }
    }

    /// Answers every request on every connection with these bytes, for as long as the client keeps it open.
    pub async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::start(move |mut peer| {
            let answer = Arc::clone(&answer);
            async move {
                loop {
                    peer.request().await?;
                    peer.send(&*answer).await?;
                }
            }
        })
        .await
    }

    /// Plays `script` on the first connection of all; there must be no second one.
    pub async fn once<F, Fut>(script: F) -> Self
    where
        F: FnOnce(Peer) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<()>> + Send + 'static,
    {
        let script = Mutex::new(Some(script));
        Self::start(move |peer| {
            let script = script.lock().unwrap().take().expect("a second connection");
            script(peer)
        })
        .await
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    /// How many of them still play.
    pub fn open(&self) -> usize {
        self.state.lock().unwrap().open
    }

    /// What was read through [`Peer::request`] and [`Peer::head`], in its order.
    pub fn requests(&self) -> Vec<RawRequest> {
        self.state.lock().unwrap().requests.clone()
    }

    /// Waits until `enough` holds.
    pub async fn until(&self, what: &str, enough: impl Fn(&Self) -> bool) {
        let mut changes = self.seen.subscribe();
        soon(what, async {
            while !enough(self) {
                changes.changed().await.unwrap();
            }
        })
        .await;
    }

    /// Stops it: the port is closed, and every connection with it.
    pub async fn stop(mut self) {
        self.end().await;
    }

    /// The same; what it saw can still be asked for.
    pub async fn end(&mut self) {
        self.tasks.shutdown().await;
    }
}

/// A listener; its port may be taken again at once.
pub fn listen(address: SocketAddr, backlog: u32) -> TcpListener {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket.listen(backlog).unwrap()
}

/// An address on which nothing listens.
pub fn nobody() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// An address that answers no connection attempt, for as long as this lives: its queue is full.
pub struct Blackhole {
    listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl Blackhole {
    pub async fn dig() -> Self {
        let listener = listen("127.0.0.1:0".parse().unwrap(), 0);
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        // The kernel takes one or two more than the queue is long; then it drops what comes.
        while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
            queued.push(stream);
            assert!(queued.len() < 64, "the queue of a listener does not fill");
        }
        Self { listener, _queued: queued }
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }
}

async fn serve<F, Fut>(listener: TcpListener, seen: watch::Sender<()>, state: Arc<Mutex<Seen>>, script: F)
where
    F: Fn(Peer) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = io::Result<()>> + Send + 'static,
{
    // Dropped with the server, and with it every connection.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        let connection = {
            let mut state = state.lock().unwrap();
            state.connections += 1;
            state.open += 1;
            state.connections - 1
        };
        seen.send_replace(());
        let peer = Peer { stream, buffer: Vec::new(), connection, seen: seen.clone(), state: Arc::clone(&state) };
        let play = script(peer);
        let (seen, state) = (seen.clone(), Arc::clone(&state));
        connections.spawn(async move {
            // A script ends with an error when the client goes away; that is for the test to judge.
            let _ = play.await;
            state.lock().unwrap().open -= 1;
            seen.send_replace(());
        });
        while connections.try_join_next().is_some() {}
    }
}

/// One connection, as its script sees it.
pub struct Peer {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Which one it is, from 0.
    pub connection: usize,
    seen: watch::Sender<()>,
    state: Arc<Mutex<Seen>>,
}

impl Peer {
    /// Reads a head and records it, with an empty body.
    pub async fn head(&mut self) -> io::Result<RawRequest> {
        let head = self.head_unrecorded().await?;
        let request = RawRequest { head, body: Vec::new(), trailers: String::new(), connection: self.connection };
        self.record(request.clone());
        Ok(request)
    }

    /// Reads a head only.
    pub async fn head_unrecorded(&mut self) -> io::Result<String> {
        let head = self.through(b"\r\n\r\n").await?;
        Ok(String::from_utf8_lossy(&head).into_owned())
    }

    /// Reads the body that belongs to a head, and records both.
    pub async fn rest(&mut self, head: String) -> io::Result<RawRequest> {
        let (body, trailers) = self.body(&head).await?;
        let request = RawRequest { head, body, trailers, connection: self.connection };
        self.record(request.clone());
        Ok(request)
    }

    /// Reads a whole request and records it.
    pub async fn request(&mut self) -> io::Result<RawRequest> {
        let head = self.head_unrecorded().await?;
        self.rest(head).await
    }

    /// Reads the body that belongs to a head.
    pub async fn body(&mut self, head: &str) -> io::Result<(Vec<u8>, String)> {
        if header(head, "transfer-encoding").is_some() {
            return self.chunked().await;
        }
        let length = header(head, "content-length").map_or(0, |value| value.parse().unwrap());
        Ok((self.exactly(length).await?, String::new()))
    }

    async fn chunked(&mut self) -> io::Result<(Vec<u8>, String)> {
        let mut body = Vec::new();
        loop {
            let size = self.through(b"\r\n").await?;
            let size = usize::from_str_radix(String::from_utf8_lossy(&size).trim(), 16).map_err(io::Error::other)?;
            if size == 0 {
                break;
            }
            body.extend(self.exactly(size).await?);
            self.through(b"\r\n").await?;
        }
        let mut trailers = String::new();
        loop {
            let line = self.through(b"\r\n").await?;
            if line == b"\r\n" {
                return Ok((body, trailers));
            }
            trailers.push_str(&String::from_utf8_lossy(&line));
        }
    }

    /// Reads up to and with `mark`.
    pub async fn through(&mut self, mark: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(mark.len()).position(|window| window == mark) {
                return Ok(self.buffer.drain(..at + mark.len()).collect());
            }
            self.more().await?;
        }
    }

    /// Reads so many bytes.
    pub async fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            self.more().await?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Reads what comes next, at least one byte.
    pub async fn some(&mut self) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.more().await?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Sends `text` as one chunk of a chunked body.
    pub async fn send_chunk(&mut self, text: &str) -> io::Result<()> {
        self.send(format!("{:x}\r\n{text}\r\n", text.len())).await
    }

    /// Sends without end, until the kernel has taken no byte for `pause`; answers how many it took.
    pub async fn flood(&mut self, pause: Duration) -> io::Result<usize> {
        let block = [b'x'; 16 * 1024];
        let mut sent = 0;
        while let Ok(count) = tokio::time::timeout(pause, self.stream.write(&block)).await {
            sent += count?;
        }
        Ok(sent)
    }

    /// Sends nothing any more; goes on reading.
    pub async fn half_close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Breaks the connection with a reset.
    pub fn reset(self) -> io::Result<()> {
        self.stream.set_zero_linger()
    }

    /// Waits until the client ends the connection, whatever it sends before.
    pub async fn ended(&mut self) -> Ended {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            match soon("the end of a connection", self.stream.read(&mut bytes)).await {
                Ok(0) => return Ended::Fin,
                Ok(_) => {}
                Err(_) => return Ended::Reset,
            }
        }
    }

    fn record(&self, request: RawRequest) {
        self.state.lock().unwrap().requests.push(request);
        self.seen.send_replace(());
    }
}
