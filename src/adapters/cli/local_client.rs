//! A `GET` request to a server on this machine, without a runtime or a client library: the responses are small.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use app::settings::Settings;

/// The timeout of each step: connect, write, read.
const TIMEOUT: Duration = Duration::from_secs(2);
const RESPONSE_MAX_BYTES: u64 = 16 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalResponse {
    /// The first line, such as `HTTP/1.1 200 OK`.
    pub status_line: String,
    pub body: String,
}

impl LocalResponse {
    pub fn has_status(&self, status: u16) -> bool {
        self.status_line.split(' ').nth(1).is_some_and(|code| code == status.to_string())
    }
}

/// Returns the address of a proxy with these settings, as seen from this machine.
pub fn proxy_address(settings: &Settings) -> SocketAddr {
    let ip = match settings.bind {
        any if any.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        own => own,
    };
    SocketAddr::new(ip, settings.port)
}

/// Sends `GET path` and returns the whole response.
pub fn get(address: SocketAddr, path: &str) -> io::Result<LocalResponse> {
    let mut socket = TcpStream::connect_timeout(&address, TIMEOUT)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    socket.take(RESPONSE_MAX_BYTES).read_to_end(&mut bytes)?;
    let response = String::from_utf8_lossy(&bytes);
    let (head, body) = response.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status_line = head.lines().next().unwrap_or_default().to_owned();
    Ok(LocalResponse { status_line, body: body.to_owned() })
}
