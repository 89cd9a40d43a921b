//! What is held of requests' bodies, and how much all of them may hold together.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use app::replay::Replay;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;

/// What one chunk costs beside its bytes.
const CHUNK_OVERHEAD: usize = size_of::<Chunk>() + 64;
/// The least that hyper reads into at once. A chunk that is held as it came holds all of it.
const READ_BUFFER_BYTES: usize = 8 * 1024;
/// The smallest and the largest buffer that chunks are copied into.
const BLOCK_MIN_BYTES: usize = 4 * 1024;
const BLOCK_MAX_BYTES: usize = 64 * 1024;
/// A new buffer is this part of what is held.
const BLOCK_PART: usize = 8;
/// What a header of a trailer costs beside its text: its place in the map.
const TRAILER_OVERHEAD: usize = 128;

/// How much is held for all requests together.
#[derive(Debug)]
pub struct BufferBudget {
    bytes: AtomicUsize,
    limit: usize,
}

impl BufferBudget {
    /// Nothing is held, and this much may be.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(0), limit })
    }

    /// How much is held now.
    #[cfg(test)]
    pub fn charged(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) -> bool {
        let fits = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }
}

/// A part of the total, given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    total: Arc<BufferBudget>,
    bytes: AtomicUsize,
}

impl Share {
    /// An empty part.
    pub fn of(total: &Arc<BufferBudget>) -> Self {
        Self { total: Arc::clone(total), bytes: AtomicUsize::new(0) }
    }

    /// Adds this much; `false`, and nothing changes, if there is no room for it.
    pub fn take(&self, bytes: usize) -> bool {
        let fits = self.total.add(bytes);
        if fits {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        fits
    }

    /// Gives this much back.
    pub fn give_back(&self, bytes: usize) {
        let bytes = bytes.min(self.bytes.load(Ordering::Relaxed));
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.total.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Makes it as large as this; `false`, and nothing changes, if there is no room for it.
    pub fn resize(&self, bytes: usize) -> bool {
        let now = self.bytes.load(Ordering::Relaxed);
        match bytes.checked_sub(now) {
            Some(more) => self.take(more),
            None => {
                self.give_back(now - bytes);
                true
            }
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back(usize::MAX);
    }
}

struct Chunk {
    frame: Frame<Bytes>,
    cost: usize,
}

/// What was read of one body and not yet passed on.
///
/// A chunk is a part of the buffer that the connection read into, and keeps all of that. So only the first one is held as
/// it came, which is enough for most requests; where a second one comes, both are copied together.
pub struct Buffer {
    chunks: VecDeque<Chunk>,
    /// The first of the chunks is as it came.
    is_uncopied: bool,
    /// What more is copied into.
    block: BytesMut,
    /// Bytes of the body.
    bytes: usize,
    share: Share,
}

impl Buffer {
    /// Holds nothing yet.
    pub fn new(total: &Arc<BufferBudget>) -> Self {
        Self { chunks: VecDeque::new(), is_uncopied: false, block: BytesMut::new(), bytes: 0, share: Share::of(total) }
    }

    /// How many bytes of the body are held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Copies the handles of what is held, charged to the total once more. `None` if it is more than this, has trailers, or
    /// there is no room.
    pub fn replay(&mut self, most: usize) -> Option<Replay> {
        self.close_block();
        let share = Share::of(&self.share.total);
        if self.bytes > most || !share.take(self.bytes) {
            return None;
        }
        let data = self.chunks.iter().map(|chunk| chunk.frame.data_ref());
        let is_data = data.clone().all(|data| data.is_some());
        is_data.then(|| Replay::new(data.flatten().cloned(), Box::new(share)))
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.block.is_empty()
    }

    /// Holds a chunk or trailers; `false` if there is no room for them among all requests.
    pub fn push(&mut self, frame: Frame<Bytes>) -> bool {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(trailers) => {
                self.close_block();
                let cost = CHUNK_OVERHEAD + trailers.trailers_ref().map_or(0, trailers_cost);
                return self.hold(trailers, cost);
            }
        };
        self.bytes += data.len();
        if self.is_empty() {
            self.is_uncopied = true;
            let cost = CHUNK_OVERHEAD + data.len().max(READ_BUFFER_BYTES);
            return self.hold(Frame::data(data), cost);
        }
        if std::mem::take(&mut self.is_uncopied)
            && let Some(first) = self.chunks.pop_front()
        {
            self.share.give_back(first.cost);
            if !first.frame.data_ref().is_none_or(|first| self.copy(first)) {
                return false;
            }
        }
        self.copy(&data)
    }

    /// Takes the next part of what is held.
    pub fn pop(&mut self) -> Option<Frame<Bytes>> {
        if self.chunks.is_empty() {
            self.close_block();
        }
        let Chunk { frame, cost } = self.chunks.pop_front()?;
        self.is_uncopied = false;
        self.bytes -= frame.data_ref().map_or(0, Bytes::len);
        self.share.give_back(cost);
        Some(frame)
    }

    fn hold(&mut self, frame: Frame<Bytes>, cost: usize) -> bool {
        let fits = self.share.take(cost);
        if fits {
            self.chunks.push_back(Chunk { frame, cost });
        }
        fits
    }

    /// Copies bytes to the end. Blocks grow with what is held, so that no more than a small part of it is room.
    fn copy(&mut self, mut data: &[u8]) -> bool {
        while !data.is_empty() {
            if self.block.len() == self.block.capacity() {
                self.close_block();
                let size = (self.bytes / BLOCK_PART).clamp(BLOCK_MIN_BYTES, BLOCK_MAX_BYTES);
                if !self.share.take(size + CHUNK_OVERHEAD) {
                    return false;
                }
                self.block = BytesMut::with_capacity(size);
            }
            let room = self.block.capacity() - self.block.len();
            let (now, later) = data.split_at_checked(room).unwrap_or((data, &[]));
            self.block.extend_from_slice(now);
            data = later;
        }
        true
    }

    /// What was copied together becomes a chunk, which was paid for when its block was made.
    fn close_block(&mut self) {
        if !self.block.is_empty() {
            let cost = self.block.capacity() + CHUNK_OVERHEAD;
            let frame = Frame::data(std::mem::take(&mut self.block).freeze());
            self.chunks.push_back(Chunk { frame, cost });
        }
    }
}

fn trailers_cost(trailers: &HeaderMap) -> usize {
    trailers.iter().map(|(name, value)| name.as_str().len() + value.len() + TRAILER_OVERHEAD).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn held(limit: usize) -> (Buffer, Arc<BufferBudget>) {
        let total = BufferBudget::new(limit);
        (Buffer::new(&total), total)
    }

    fn chunk(byte: u8, length: usize) -> Frame<Bytes> {
        // As hyper gives them: a part of a larger buffer.
        let mut buffer = BytesMut::with_capacity(READ_BUFFER_BYTES.max(length));
        buffer.resize(length, byte);
        Frame::data(buffer.split().freeze())
    }

    fn drained(held: &mut Buffer) -> Vec<u8> {
        let frames = std::iter::from_fn(|| held.pop());
        frames.filter_map(|frame| frame.into_data().ok()).flat_map(Bytes::into_iter).collect()
    }

    #[test]
    fn what_is_held_costs_about_what_it_is_in_chunks_of_any_size() {
        for size in [1, 7, 100, 1448, 5000, 60_000, 64 << 10] {
            let (mut held, total) = held(usize::MAX);
            let mut expected = Vec::new();
            for number in 0..400_000_usize.div_ceil(size) {
                assert!(held.push(chunk(number as u8, size)));
                expected.resize(expected.len() + size, number as u8);
            }
            assert_eq!(held.bytes(), expected.len());
            let cost = total.charged();
            assert!(cost >= expected.len(), "chunks of {size}: {} bytes at {cost}", expected.len());
            assert!(
                cost <= expected.len() + expected.len() / BLOCK_PART + READ_BUFFER_BYTES,
                "chunks of {size}: {} at {cost}",
                expected.len()
            );
            assert!(drained(&mut held) == expected, "chunks of {size}");
            assert_eq!((total.charged(), held.bytes(), held.is_empty()), (0, 0, true));
        }
    }

    #[test]
    fn a_single_chunk_is_held_as_it_came_and_pays_for_the_buffer_that_it_keeps() {
        let (mut held, total) = held(usize::MAX);
        let data = Bytes::from_static(b"abc");
        held.push(Frame::data(data.clone()));
        assert!(total.charged() > READ_BUFFER_BYTES);
        assert_eq!(held.pop().unwrap().into_data().unwrap().as_ptr(), data.as_ptr());
    }

    #[test]
    fn what_has_no_room_is_refused_and_everything_is_given_back() {
        let (mut first, total) = held(100_000);
        let taken = (0..100_000).take_while(|_| first.push(chunk(b'x', 1))).count();
        assert!(taken > 80_000, "{taken} bytes fit");
        assert!(total.charged() <= 100_000);
        let mut second = Buffer::new(&total);
        assert!(!second.push(chunk(b'x', 50_000)));
        drop((first, second));
        assert_eq!(total.charged(), 0);
    }

    #[test]
    fn trailers_stay_behind_the_data() {
        let (mut held, total) = held(usize::MAX);
        held.push(chunk(b'a', 3));
        held.push(chunk(b'b', 3));
        let trailers = HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from_static("x"))]);
        held.push(Frame::trailers(trailers.clone()));
        assert_eq!(held.pop().unwrap().into_data().unwrap(), "aaabbb");
        assert_eq!(held.pop().unwrap().into_trailers().unwrap(), trailers);
        assert!(held.pop().is_none() && total.charged() == 0);
    }

    #[test]
    fn a_share_follows_what_it_stands_for() {
        let total = BufferBudget::new(100);
        let (one, other) = (Share::of(&total), Share::of(&total));
        assert!(one.resize(60) && one.resize(20) && other.take(80));
        assert!(!one.resize(21) && total.charged() == 100);
        drop(other);
        assert!(one.resize(100));
        drop(one);
        assert_eq!(total.charged(), 0);
    }
}
