//! Accepts connections, within a bound, and ends them when the proxy stops.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join;
use hyper::server::conn::http1;
use slab::Slab;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::closing::{MaySend, linger};
use super::conn_state::{Connection, IDLE_ROUNDS};
use super::connection;
use super::server::{Server, http_date};

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 4096;
/// The wait after a failed accept. Out of descriptors, it would fail again at once, and for ever.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// The shortest time between two looks at all connections.
const LEAST_ROUND: Duration = Duration::from_millis(10);
/// The most connections over the bound that are told so and then read, so that what they were told arrives.
const TURNED_AWAY_MAX: usize = 256;
/// What a connection over the bound is told.
const TOO_MANY: &str = r#"{"error":{"message":"the proxy has as many connections as it may","type":"server_error","param":null,"code":"overloaded"}}"#;

/// The proxy cannot listen.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {error}; is another program there, or does the port need other rights? PROXY_PORT names another"
)]
pub struct ListenError {
    address: SocketAddr,
    error: io::Error,
}

/// A listener that is bound and not yet accepting.
pub struct Bound {
    listener: TcpListener,
}

/// The connections that are open.
#[derive(Default)]
struct Open(Mutex<Slab<Arc<Connection>>>);

impl Bound {
    /// Binds. Where all IPv6 addresses are asked for and the host has none, all IPv4 addresses are taken.
    ///
    /// # Errors
    /// The address is in use, or not ours.
    pub fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        match listen(address) {
            Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && error.kind() != io::ErrorKind::AddrInUse => {
                let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
                listen(v4).map_err(|error| ListenError { address: v4, error })
            }
            bound => bound.map_err(|error| ListenError { address, error }),
        }
        .map(|listener| Self { listener })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The socket does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts until `stop_accepting`, then lets every connection finish its request, and ends what is left when the
    /// server is aborted. Returns how many requests and tunnels were cut by that.
    pub async fn serve(self, server: Arc<Server>, stop_accepting: CancellationToken) -> usize {
        let (open, tasks, turned_away) = (Arc::new(Open::default()), TaskTracker::new(), TaskTracker::new());
        let builder = connection::builder();
        let admit = |socket, peer| match tasks.len() < server.settings().max_connections {
            true => admit(&server, &builder, &open, &tasks, socket, peer),
            false => turn_away(&turned_away, socket),
        };
        let ageing = open.age(server.settings().idle_timeout);
        stop_accepting.run_until_cancelled(join(accept(&self.listener, admit), ageing)).await;
        accept_waiting(self.listener, admit);
        open.each(|connection| connection.cancel.close());
        tasks.close();
        if server.abort().run_until_cancelled(tasks.wait()).await.is_some() {
            return 0;
        }
        let cut = open.count(Connection::is_in_use);
        open.each(|connection| connection.cancel.abort());
        tasks.wait().await;
        cut
    }
}

async fn accept(listener: &TcpListener, admit: impl Fn(TcpStream, SocketAddr)) -> std::convert::Infallible {
    let mut failing = false;
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                failing = false;
                admit(socket, peer);
            }
            Err(error) => {
                if !failing {
                    warn!(%error, "connections cannot be accepted; trying again until they can");
                }
                failing = true;
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

/// Accepts what waits, and closes the listener behind it. The kernel resets what waits at a listener that closes, and
/// to its clients these are connections like any other, on which a request may have been sent.
fn accept_waiting(listener: TcpListener, admit: impl Fn(TcpStream, SocketAddr)) {
    let Ok(listener) = listener.into_std() else { return };
    let waiting: Vec<_> = std::iter::from_fn(|| listener.accept().ok()).take(BACKLOG as usize).collect();
    drop(listener);
    for (socket, peer) in waiting {
        if let Ok(socket) = socket.set_nonblocking(true).and_then(|()| TcpStream::from_std(socket)) {
            admit(socket, peer);
        }
    }
}

/// Serves a connection.
fn admit(
    server: &Arc<Server>,
    builder: &http1::Builder,
    open: &Arc<Open>,
    tasks: &TaskTracker,
    socket: TcpStream,
    peer: SocketAddr,
) {
    // Events are small and must leave at once.
    let _ = socket.set_nodelay(true);
    let connection = Arc::new(Connection::new(peer));
    let guard = open.enter(&connection);
    let served = connection::serve(Arc::clone(server), builder.clone(), socket, connection);
    tasks.spawn(async move {
        served.await;
        drop(guard);
    });
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Says why, if the socket takes it at once.
fn turn_away(turned_away: &TaskTracker, mut socket: TcpStream) {
    let response = format!(
        "HTTP/1.1 503 Service Unavailable\r\ndate: {}\r\ncontent-type: application/json\r\nretry-after: 2\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{TOO_MANY}",
        http_date(),
        TOO_MANY.len()
    );
    let _ = socket.try_write(response.as_bytes());
    if turned_away.len() < TURNED_AWAY_MAX {
        turned_away.spawn(async move { linger(&mut socket, MaySend::Yes).await });
    }
}

/// Takes a connection out of the list when it is over.
struct Entered {
    open: Arc<Open>,
    key: usize,
}

impl Open {
    fn enter(self: &Arc<Self>, connection: &Arc<Connection>) -> Entered {
        let key = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(connection));
        Entered { open: Arc::clone(self), key }
    }

    fn each(&self, ask: impl Fn(&Connection)) {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter().for_each(|(_, connection)| ask(connection));
    }

    fn count(&self, holds: impl Fn(&Connection) -> bool) -> usize {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter().filter(|(_, connection)| holds(connection)).count()
    }

    /// Has connections end that were idle for this long, or a little longer.
    async fn age(&self, limit: Duration) -> std::convert::Infallible {
        let round = (limit / u32::from(IDLE_ROUNDS)).max(LEAST_ROUND);
        loop {
            tokio::time::sleep(round).await;
            self.each(|connection| {
                if connection.grows_older() {
                    connection.cancel.look();
                }
            });
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.open.0.lock().unwrap_or_else(PoisonError::into_inner).try_remove(self.key);
    }
}
