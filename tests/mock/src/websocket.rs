//! `/realtime`: a WebSocket (RFC 6455) that sends back what it gets, frame by frame.

use crate::connection::{Connection, Gone};
use crate::request::Request;
use crate::sha1::{base64, sha1};
use std::io::Read;

const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Longest frame that is taken.
const MAX_FRAME: u64 = 16 * 1024 * 1024;

const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Shakes hands, then echoes until the client closes. A close handshake is a whole answer, a lost client an abort.
pub fn serve(to: &mut Connection, request: &Request) -> Result<(), Gone> {
    let upgrade = request.header("upgrade").unwrap_or_default();
    let key = request.header("sec-websocket-key");
    let Some(key) = key.filter(|_| upgrade.eq_ignore_ascii_case("websocket")) else {
        return to.json(
            400,
            r#"{"error":{"message":"not a WebSocket upgrade","type":"mock_error","param":null,"code":400}}"#,
        );
    };
    let accept = base64(&sha1(format!("{key}{GUID}").as_bytes()));
    // The content type of a usual answer would be odd here; everything else is the same.
    let head = to
        .head(101, "-", "")
        .replace("101 Status", "101 Switching Protocols")
        .replace("content-type: -\r\n", "connection: Upgrade\r\nupgrade: websocket\r\n")
        .trim_end()
        .to_owned();
    to.write(format!("{head}\r\nsec-websocket-accept: {accept}\r\n\r\n").as_bytes())?;
    loop {
        let (first, payload) = read_frame(to)?;
        let answer = if first & 0x0f == PING { first & 0xf0 | PONG } else { first };
        write_frame(to, answer, &payload)?;
        if first & 0x0f == CLOSE {
            to.cut();
            return Ok(());
        }
    }
}

/// The first byte (FIN, opcode) and the payload of a frame, unmasked.
fn read_frame(to: &mut Connection) -> Result<(u8, Vec<u8>), Gone> {
    let from = to.raw();
    let mut start = [0; 2];
    from.read_exact(&mut start)?;
    let length = match start[1] & 0x7f {
        126 => {
            let mut more = [0; 2];
            from.read_exact(&mut more)?;
            u64::from(u16::from_be_bytes(more))
        }
        127 => {
            let mut more = [0; 8];
            from.read_exact(&mut more)?;
            u64::from_be_bytes(more)
        }
        short => u64::from(short),
    };
    if length > MAX_FRAME {
        return Err(Gone);
    }
    let mut mask = [0; 4];
    if start[1] & 0x80 != 0 {
        from.read_exact(&mut mask)?;
    }
    let mut payload = vec![0; length as usize];
    from.read_exact(&mut payload)?;
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    Ok((start[0], payload))
}

fn write_frame(to: &mut Connection, first: u8, payload: &[u8]) -> Result<(), Gone> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(short as u8),
        middle @ 126..65536 => {
            frame.push(126);
            frame.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    to.write(&frame)
}
