//! How a client's connection is closed: an answer that was sent arrives, and one that was broken off looks it.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::conn_state::Connection;

/// The most bytes that are read and discarded behind the last answer.
pub(super) const LINGER_BYTES: usize = 64 << 20;
/// The longest wait for the next of them, or for the client's own end.
const LINGER_PAUSE: Duration = Duration::from_secs(2);
/// The longest time that a connection lingers.
const LINGER_TIME: Duration = Duration::from_secs(30);
/// The buffer for what is discarded, in bytes.
const BUFFER: usize = 16 * 1024;

/// Whether a client may still be sending when its connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MaySend {
    /// It has sent its request, and nothing else as far as is known.
    No,
    /// Its request was not read to the end.
    Yes,
}

/// Sends the end, and then reads and discards what the client still sends. To close a socket that has not been read to
/// its end is to reset it, and with a reset goes what the client has not read yet: the answer.
pub(super) async fn linger(socket: &mut TcpStream, may_send: MaySend) {
    if socket.shutdown().await.is_ok() {
        let _ = tokio::time::timeout(LINGER_TIME, discard(socket, may_send)).await;
    }
}

async fn discard(socket: &TcpStream, may_send: MaySend) {
    let (mut buffer, mut left, mut waits) = (Vec::new(), LINGER_BYTES, may_send == MaySend::Yes);
    while left > 0 {
        buffer.resize(BUFFER.min(left), 0);
        match socket.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                left -= count;
                waits = true;
            }
            Err(error) if error.kind() != io::ErrorKind::WouldBlock || !waits => return,
            Err(_) => {}
        }
        match tokio::time::timeout(LINGER_PAUSE, socket.readable()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

/// Resets a connection that ends, for whatever reason, while only its end would tell the client that the answer is
/// over: an end in order would make it look complete.
pub(super) struct ResetGuard<'a> {
    pub(super) socket: &'a TcpStream,
    pub(super) connection: &'a Connection,
}

impl Drop for ResetGuard<'_> {
    fn drop(&mut self) {
        if self.connection.must_reset() {
            let _ = self.socket.set_zero_linger();
        }
    }
}
