//! brotli (RFC 7932). Its decoder is told where to take its memory from, so that each buffer is charged before it is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use brotli::{
    Allocator, BrotliDecompressStream, BrotliResult, BrotliState, HuffmanCode, SliceWrapper, SliceWrapperMut,
};

use super::{DecodeError, Step};
use crate::adapters::http::buffer::{BufferBudget, Share};

/// The decoder.
pub(super) struct Brotli {
    state: Box<BrotliState<Charged, Charged, Charged>>,
    memory: Charged,
    has_ended: bool,
}

impl Brotli {
    /// A decoder that charges this total. Windows of more than 16 MiB, which are not in the RFC, are refused.
    pub(super) fn new(total: &Arc<BufferBudget>) -> Self {
        let memory = Charged(Arc::new(Account { share: Share::of(total), was_refused: AtomicBool::new(false) }));
        let state = Box::new(BrotliState::new_strict(memory.clone(), memory.clone(), memory.clone()));
        Self { state, memory, has_ended: false }
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, DecodeError> {
        if self.has_ended {
            // Something stands behind the end.
            return if input.is_empty() { Ok(Step::default()) } else { Err(DecodeError::Invalid) };
        }
        let (mut left, mut taken) = (input.len(), 0);
        let (mut room, mut given, mut total) = (output.len(), 0, 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut taken,
            input,
            &mut room,
            &mut given,
            output,
            &mut total,
            &mut self.state,
        );
        if self.memory.0.was_refused.load(Ordering::Relaxed) {
            return Err(DecodeError::NoRoom);
        }
        let holds_more = match result {
            BrotliResult::NeedsMoreInput => false,
            BrotliResult::NeedsMoreOutput => true,
            BrotliResult::ResultSuccess => {
                self.has_ended = true;
                false
            }
            BrotliResult::ResultFailure => return Err(DecodeError::Invalid),
        };
        Ok(Step { taken, given, holds_more })
    }
}

/// Memory that is charged to the total before it is taken.
#[derive(Clone)]
struct Charged(Arc<Account>);

struct Account {
    share: Share,
    was_refused: AtomicBool,
}

/// A buffer of the decoder. It is empty where there was no room for it, which ends the decoding.
struct Buffer<T>(Vec<T>);

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> SliceWrapper<T> for Buffer<T> {
    fn slice(&self) -> &[T] {
        &self.0
    }
}

impl<T> SliceWrapperMut<T> for Buffer<T> {
    fn slice_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

macro_rules! charged_allocator {
    ($($item:ty),*) => {$(
        impl Allocator<$item> for Charged {
            type AllocatedMemory = Buffer<$item>;

            fn alloc_cell(&mut self, len: usize) -> Self::AllocatedMemory {
                if !self.0.share.take(len * size_of::<$item>()) {
                    self.0.was_refused.store(true, Ordering::Relaxed);
                    return Buffer::default();
                }
                Buffer(vec![<$item>::default(); len])
            }

            fn free_cell(&mut self, buffer: Self::AllocatedMemory) {
                self.0.share.give_back(buffer.0.len() * size_of::<$item>());
            }
        }
    )*};
}

charged_allocator!(u8, u32, HuffmanCode);
