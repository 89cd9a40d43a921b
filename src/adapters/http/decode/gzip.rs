//! gzip (RFC 1952), one member or several.

use std::io::{self, Write};

use flate2::write::GzDecoder;

use super::{DecodeError, INFLATE_BYTES, Step};

/// The decoder.
pub(super) struct Gzip {
    member: GzDecoder<Vec<u8>>,
    /// How many bytes of this member's header were read so far.
    header_bytes: usize,
}

impl Gzip {
    pub(super) fn new() -> Self {
        Self { member: GzDecoder::new(Vec::new()), header_bytes: 0 }
    }

    pub(super) fn step(&mut self, input: &[u8]) -> Result<Step, DecodeError> {
        self.next(input).map_err(|_| DecodeError::Invalid)
    }

    fn next(&mut self, input: &[u8]) -> io::Result<Step> {
        self.member.get_mut().clear();
        let taken = self.member.write(input)?;
        if self.member.header().is_none() {
            self.header_bytes += taken;
        }
        if taken == 0 && !input.is_empty() {
            // The member has ended, and another one follows.
            self.member.try_finish()?;
            let given = self.member.get_ref().len();
            let output = std::mem::take(self.member.get_mut());
            *self = Self { member: GzDecoder::new(output), header_bytes: 0 };
            return Ok(Step { taken, given, holds_more: true });
        }
        if taken == input.len() {
            self.member.flush()?;
        }
        Ok(Step { taken, given: self.member.get_ref().len(), holds_more: false })
    }

    pub(super) fn output(&self) -> &[u8] {
        self.member.get_ref()
    }

    /// What it holds. Of a header, everything is kept: the name of the file and what else may be in it.
    pub(super) fn memory(&self) -> usize {
        // Vectors that grow may be twice as long.
        INFLATE_BYTES + 2 * self.header_bytes + self.member.get_ref().capacity()
    }
}
