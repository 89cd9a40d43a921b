//! A response, read strictly: what is no HTTP/1 is said to be wrong.

use super::bytes;
use super::plan::How;
use super::play::{Play, Seen, Step};
use super::wire::{Incoming, Stop};

/// How much of a chunk or of a body with a length is taken at once.
const PART: usize = 64 << 10;

/// The head of a response.
pub struct Head {
    pub status: u16,
    is_old: bool,
    lines: Vec<(String, String)>,
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.lines.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    fn is_bodiless(&self, method: &str) -> bool {
        method == "HEAD" || matches!(self.status, 204 | 304)
    }

    /// Whether the connection takes another request behind the body.
    fn keeps(&self, method: &str) -> bool {
        let connection = self.header("connection").unwrap_or_default().to_ascii_lowercase();
        let is_framed = self.is_bodiless(method)
            || self.header("content-length").is_some()
            || self.header("transfer-encoding").is_some();
        match self.is_old {
            true => is_framed && connection == "keep-alive",
            false => is_framed && connection != "close",
        }
    }
}

/// Reads a head.
pub async fn head(from: &mut Incoming) -> Result<Head, Stop> {
    let head = from.through(b"\r\n\r\n").await?;
    let text = String::from_utf8_lossy(&head).into_owned();
    let wrong = || Stop::Wrong(format!("no head of a response: {text:?}"));
    let mut lines = text.trim_end().split("\r\n");
    let mut words = lines.next().unwrap_or_default().splitn(3, ' ');
    let is_old = match words.next() {
        Some("HTTP/1.1") => false,
        Some("HTTP/1.0") => true,
        _ => return Err(wrong()),
    };
    let status = words.next().and_then(|word| word.parse().ok()).ok_or_else(wrong)?;
    let lines = lines.map(|line| line.split_once(':'));
    let lines: Option<Vec<_>> =
        lines.map(|line| line.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))).collect();
    Ok(Head { status, is_old, lines: lines.ok_or_else(wrong)? })
}

/// Reads a head that is the last of its request's.
pub async fn final_head(from: &mut Incoming) -> Result<Head, Stop> {
    loop {
        let head = head(from).await?;
        if !matches!(head.status, 100 | 103) {
            return Ok(head);
        }
    }
}

/// The body of a response as it comes, compared with what was sent.
struct Body<'a> {
    step: &'a Step,
    bytes: usize,
    is_right: bool,
}

impl Body<'_> {
    fn take(&mut self, part: &[u8]) {
        let expected = self.step.response_body.get(self.bytes..self.bytes + part.len());
        self.is_right &= expected == Some(part);
        self.bytes += part.len();
        self.step.read.send_modify(|read| *read += part.len());
    }
}

/// Reads a whole response, or all that comes of it.
pub async fn read(from: &mut Incoming, play: &Play, at: usize) -> Result<Seen, Stop> {
    let head = final_head(from).await?;
    rest(from, play, at, &head).await
}

/// Reads the body that belongs to a head.
pub async fn rest(from: &mut Incoming, play: &Play, at: usize, head: &Head) -> Result<Seen, Stop> {
    let (step, method) = (&play.steps[at], play.visit.exchanges[at].request.method);
    play.log.note(format_args!("client: head of {at}, {} {:?}", head.status, head.lines));
    step.read.send_modify(|read| *read += 1);
    let mut body = Body { step, bytes: 0, is_right: true };
    let mut trailers = false;
    let end = if head.is_bodiless(method) {
        Ok(())
    } else if head.header("transfer-encoding").is_some() {
        chunked(from, &mut body).await.map(|found| trailers = found)
    } else if let Some(length) = head.header("content-length") {
        let length = length.parse().map_err(|_| Stop::Wrong(format!("content-length: {length:?}")))?;
        sized(from, &mut body, length).await
    } else {
        match until_close(from, &mut body).await {
            Stop::Ended(How::Fin) => Ok(()),
            stop => Err(stop),
        }
    };
    let cut = match end {
        Ok(()) => None,
        Err(Stop::Ended(how)) => Some(how),
        Err(stop) => return Err(stop),
    };
    let (bytes, is_right, keeps) = (body.bytes, body.is_right, head.keeps(method) && cut.is_none());
    Ok(Seen { status: head.status, bytes, is_right, cut, trailers, keeps, closed: None })
}

/// Reads the head of a response and at least so many bytes behind it.
pub async fn begin(from: &mut Incoming, play: &Play, at: usize, bytes: usize) -> Result<(), Stop> {
    let head = final_head(from).await?;
    play.log.note(format_args!("client: head of {at}, {} {:?}", head.status, head.lines));
    from.exactly(bytes).await.map(drop)
}

async fn sized(from: &mut Incoming, body: &mut Body<'_>, mut left: usize) -> Result<(), Stop> {
    while left > 0 {
        let part = from.some(left.min(PART)).await?;
        left -= part.len();
        body.take(&part);
    }
    Ok(())
}

async fn until_close(from: &mut Incoming, body: &mut Body<'_>) -> Stop {
    loop {
        match from.some(PART).await {
            Ok(part) => body.take(&part),
            Err(stop) => return stop,
        }
    }
}

/// Returns whether there were the trailers that were sent.
async fn chunked(from: &mut Incoming, body: &mut Body<'_>) -> Result<bool, Stop> {
    loop {
        let line = from.through(b"\r\n").await?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let size = usize::from_str_radix(line.trim_end(), 16);
        let size = size.map_err(|_| Stop::Wrong(format!("no size of a chunk: {line:?}")))?;
        if size == 0 {
            break;
        }
        sized(from, body, size).await?;
        if from.exactly(2).await? != b"\r\n" {
            return Err(Stop::Wrong("no line end behind a chunk".to_owned()));
        }
    }
    let mut trailers = String::new();
    loop {
        let line = from.through(b"\r\n").await?;
        if line == b"\r\n" {
            return Ok(trailers == bytes::TRAILER);
        }
        trailers.push_str(&String::from_utf8_lossy(&line));
    }
}
