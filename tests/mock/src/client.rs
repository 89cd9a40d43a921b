//! The client side: a health check and a plain GET, for images without a shell.

use crate::settings::Settings;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Longest wait for each step; Docker's own timeout usually comes first.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer that is read.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;

/// Asks the server in this container for its health; any status but 200 is an error.
pub fn healthcheck(settings: &Settings) -> Result<(), String> {
    let host = match settings.bind.as_str() {
        "0.0.0.0" => "127.0.0.1",
        "::" => "::1",
        other => other,
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    get(&format!("{host}:{}", settings.port), "/health").map(|_| ())
}

/// The body of a GET; any status but 200 is an error.
pub fn get(authority: &str, path: &str) -> Result<String, String> {
    let failed = |why: std::io::Error| format!("GET http://{authority}{path}: {why}");
    let address =
        authority.to_socket_addrs().map_err(failed)?.next().ok_or_else(|| format!("{authority}: no address"))?;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).map_err(failed)?;
    stream.set_read_timeout(Some(TIMEOUT)).map_err(failed)?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).map_err(failed)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        Some(status) => Err(format!("GET http://{authority}{path}: status {status}")),
        None => Err(format!("GET http://{authority}{path}: no answer")),
    }
}
