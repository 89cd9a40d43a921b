//! One question to a server of this machine, and its answer. No runtime and no client library: the answer is small.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use app::settings::Settings;

/// The longest wait for each step of the question.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most of the answer that is read, in bytes.
const ANSWER_MAX: u64 = 16 << 20;

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The first line, such as `HTTP/1.1 200 OK`.
    pub status_line: String,
    /// What follows the head.
    pub body: String,
}

impl Answered {
    /// Whether the status is this one.
    pub fn is(&self, status: u16) -> bool {
        self.status_line.split(' ').nth(1).is_some_and(|code| code == status.to_string())
    }
}

/// Where the proxy of these settings listens, as seen from this machine.
pub fn proxy(settings: &Settings) -> SocketAddr {
    let ip = match settings.bind {
        any if any.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        own => own,
    };
    SocketAddr::new(ip, settings.port)
}

/// `GET path`.
///
/// # Errors
/// Nothing listens there, or no whole answer came in time.
pub fn get(address: SocketAddr, path: &str) -> io::Result<Answered> {
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    socket.take(ANSWER_MAX).read_to_end(&mut bytes)?;
    let answer = String::from_utf8_lossy(&bytes);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status_line = head.lines().next().unwrap_or_default().to_owned();
    Ok(Answered { status_line, body: body.to_owned() })
}
