//! zstd (RFC 8878), one frame or several.

use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

use super::{DecodeError, Step};

/// What a decompressor may remember, as a power of two: 8 MiB, which RFC 8878 asks every decoder to support.
const WINDOW_LOG_MAX: u32 = 23;

/// The decoder.
pub(super) struct Zstd {
    context: DCtx<'static>,
    frame_has_ended: bool,
}

impl Zstd {
    pub(super) fn new() -> Result<Self, DecodeError> {
        let mut context = DCtx::try_create().ok_or(DecodeError::NoRoom)?;
        context.init().map_err(|_| DecodeError::Invalid)?;
        context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(|_| DecodeError::Invalid)?;
        Ok(Self { context, frame_has_ended: false })
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, DecodeError> {
        if std::mem::take(&mut self.frame_has_ended) {
            self.context.reset(ResetDirective::SessionOnly).map_err(|_| DecodeError::Invalid)?;
        }
        let room = output.len();
        let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(output));
        let hint = self.context.decompress_stream(&mut to, &mut from).map_err(|_| DecodeError::Invalid)?;
        self.frame_has_ended = hint == 0;
        let (taken, given) = (from.pos(), to.pos());
        Ok(Step { taken, given, holds_more: given == room && !self.frame_has_ended })
    }

    /// What it holds.
    pub(super) fn memory(&self) -> usize {
        self.context.sizeof()
    }
}
