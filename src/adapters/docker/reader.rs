//! Drains the engine's event stream without delay: an engine silently drops events for a slow reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc::{self, error::TrySendError};

use super::engine::EngineError;
use super::event::{self, EngineEvent, Line};

/// The longest line. An event carries all labels of its container.
const LINE_MAX_BYTES: usize = 1024 * 1024;

/// What the reader lost, read and reset by the session.
#[derive(Debug, Default)]
pub struct Notes {
    overflowed: AtomicBool,
    unreadable: AtomicBool,
}

impl Notes {
    /// Returns true if the queue was full and dropped events since the last call.
    pub fn overflowed(&self) -> bool {
        self.overflowed.swap(false, Ordering::AcqRel)
    }

    /// Returns true if a line could not be read since the last call.
    pub fn unreadable(&self) -> bool {
        self.unreadable.swap(false, Ordering::AcqRel)
    }
}

/// Reads `stream` to its end into `queue`, and never waits for the queue's reader.
pub async fn drain(
    stream: impl Stream<Item = Result<Bytes, EngineError>> + Send,
    queue: mpsc::Sender<EngineEvent>,
    notes: Arc<Notes>,
) -> EngineError {
    let mut stream = std::pin::pin!(stream);
    let mut lines = Lines::default();
    loop {
        let chunk = match stream.next().await {
            Some(Ok(chunk)) => chunk,
            Some(Err(error)) => return error,
            None => return EngineError::EventsEnded,
        };
        for line in lines.split(&chunk) {
            match line.map_or(Line::Unreadable, |line| event::read(&line)) {
                Line::Event(event) => match queue.try_send(event) {
                    Ok(()) => {}
                    Err(TrySendError::Full(_)) => notes.overflowed.store(true, Ordering::Release),
                    Err(TrySendError::Closed(_)) => return EngineError::EventsEnded,
                },
                Line::Other => {}
                Line::Unreadable => {
                    tracing::debug!("skipped unreadable event");
                    notes.unreadable.store(true, Ordering::Release);
                }
            }
        }
    }
}

/// Splits a stream of bytes into lines.
#[derive(Default)]
struct Lines {
    rest: BytesMut,
    skipping: bool,
}

impl Lines {
    /// Returns the lines that this chunk completes, with `None` for one that was too long.
    fn split(&mut self, chunk: &[u8]) -> Vec<Option<Bytes>> {
        let mut lines = Vec::new();
        let mut searched = self.rest.len();
        self.rest.extend_from_slice(chunk);
        while let Some(end) = memchr::memchr(b'\n', self.rest.get(searched..).unwrap_or_default()) {
            let line = self.rest.split_to(searched + end);
            self.rest.advance(1);
            searched = 0;
            let whole = !std::mem::take(&mut self.skipping) && line.len() <= LINE_MAX_BYTES;
            lines.push(whole.then(|| line.freeze()));
        }
        if self.rest.len() > LINE_MAX_BYTES {
            self.rest.clear();
            self.skipping = true;
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(chunks: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
        let mut lines = Lines::default();
        chunks.iter().flat_map(|chunk| lines.split(chunk)).map(|line| line.map(|l| l.to_vec())).collect()
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let expected = vec![Some(b"one".to_vec()), Some(b"".to_vec()), Some(b"two".to_vec())];
        assert_eq!(all(&[b"one\n\ntwo\nrest"]), expected);
        assert_eq!(all(&[b"o", b"ne", b"\n", b"\ntw", b"o\nre"]), expected);
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_the_next_is_read() {
        let long = vec![b'x'; LINE_MAX_BYTES + 1];
        assert_eq!(all(&[&long, b"more\nnext\n"]), vec![None, Some(b"next".to_vec())]);
        let mut lines = Lines::default();
        assert!(lines.split(&long).is_empty());
        assert!(lines.rest.is_empty(), "nothing of it is kept");
    }
}
