//! A scripted TCP server: it does on the wire what a test says, byte for byte, also what no HTTP library would do.
//!
//! Start it with a script that plays once per connection. The script reads and writes through its [`Peer`]. When it
//! returns, the connection is closed in order; [`Peer::reset`] breaks it. Everything ends when the backend is dropped.

#![allow(unused_imports, reason = "every test file uses a part of it")]

mod address;
mod peer;
mod request;
mod waiting;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use address::{Blackhole, listen, nobody};
pub use peer::{Ended, Peer};
pub use request::RawRequest;
pub use waiting::{SOON, Signal, soon};

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
