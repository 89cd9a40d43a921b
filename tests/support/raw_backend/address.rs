//! Addresses: where one listens, where nobody listens, and one that answers no connection attempt.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

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
