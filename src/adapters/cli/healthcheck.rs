//! Asks the running proxy whether it lives; for the image's `HEALTHCHECK`.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::app::settings::Settings;

/// The longest wait for each step of the question.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most of the answer that is read, in bytes; its first line is enough.
const ANSWER_MAX: u64 = 256;

/// Asks `/healthz` on the port that the settings name.
///
/// # Errors
/// What is wrong, in one sentence.
pub fn healthcheck(settings: &Settings) -> Result<(), String> {
    let ip = match settings.bind {
        any if any.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        own => own,
    };
    let address = SocketAddr::new(ip, settings.port);
    ask(address).map_err(|error| format!("no proxy answers at {address}: {error}")).and_then(|answer| {
        match answer.starts_with("HTTP/1.1 200 ") {
            true => Ok(()),
            false => Err(format!("the proxy at {address} is not well: {}", answer.lines().next().unwrap_or_default())),
        }
    })
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    socket.take(ANSWER_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}
