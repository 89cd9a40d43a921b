//! Scans strings by blocks of bytes, over the escapes that prompts are full of.
//!
//! A search that restarts after each line break has to wait for the one before. A block has a fixed size, and its code
//! does not depend on the places of escapes in it, so that there is no branch to mispredict.

use wide::u8x16;

use super::byte_class::{is_escaped, is_hex};

/// The bytes of a block.
const BLOCK: usize = 64;

/// The bytes of a vector. Every x86-64 and every 64-bit ARM processor has vectors of this size.
const LANES: usize = 16;

/// The number of blocks without an escape after which a long run of plain text is expected, such as an image.
const PLAIN_BLOCKS: u64 = 4;

/// The odd bits.
const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;

/// Skips the rest of a string block by block, up to its closing quote, to the backslash of an escape that is invalid or
/// incomplete, or to a place in between: after a run of blocks without escapes, or before the last bytes.
#[inline]
pub(super) fn pass_blocks(bytes: &[u8]) -> &[u8] {
    let (mut rest, mut plain, mut carried) = (bytes, 0, 0);
    while let Some(block) = rest.first_chunk::<BLOCK>()
        && plain < PLAIN_BLOCKS
    {
        let (backslashes, quotes) = (marks::<b'\\'>(block), marks::<b'"'>(block));
        let (escapes, escaped) = escapes(backslashes, carried);
        let ends = quotes & !escaped;
        let inside = ends.wrapping_sub(1) & !ends;
        let mut unusual = escaped & !(quotes | backslashes | marks::<b'n'>(block)) & inside;
        while unusual != 0 {
            let at = unusual.trailing_zeros() as usize;
            if !is_escape(rest.get(at..).unwrap_or_default()) {
                // The backslash may be the last byte of the block before.
                return from_end(bytes, rest.len() - at + 1);
            }
            unusual &= unusual - 1;
        }
        if ends != 0 {
            return rest.get(ends.trailing_zeros() as usize..).unwrap_or_default();
        }
        plain = if backslashes == 0 { plain + 1 } else { 0 };
        carried = escapes >> (BLOCK - 1);
        rest = rest.get(BLOCK..).unwrap_or_default();
    }
    // An escape that is split between blocks is not skipped.
    from_end(bytes, rest.len() + carried as usize)
}

/// Skips an escape. Returns `None` if there is none, or it is invalid or incomplete.
pub(super) fn pass_escape(bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [b'\\', escape @ ..] if is_escape(escape) => match escape {
            [b'u', _, _, _, _, after @ ..] => Some(after),
            _ => escape.get(1..),
        },
        _ => None,
    }
}

/// Returns true if this begins with a valid escape, without its backslash.
#[inline(always)]
fn is_escape(bytes: &[u8]) -> bool {
    match bytes {
        [b'u', a, b, c, d, ..] => is_hex(*a) & is_hex(*b) & is_hex(*c) & is_hex(*d),
        [byte, ..] => is_escaped(*byte),
        [] => false,
    }
}

/// Returns this many of the last bytes.
#[inline(always)]
fn from_end(bytes: &[u8], count: usize) -> &[u8] {
    bytes.get(bytes.len().saturating_sub(count)..).unwrap_or_default()
}

/// Returns the backslashes that begin an escape, and the bytes that are the second of one. `carried` is 1 if the first
/// byte is the second of one, else 0.
///
/// Subtracting the starts of runs of backslashes from the odd bits flips the bits where escapes end, as the borrow runs
/// along each run (as in simdjson).
#[inline(always)]
fn escapes(backslashes: u64, carried: u64) -> (u64, u64) {
    let begins = backslashes & !carried;
    let turns = ((begins << 1) | ODD).wrapping_sub(begins) ^ ODD;
    (turns & backslashes, turns ^ (backslashes | carried))
}

/// Returns one bit for each byte of a block, the lowest for the first: set if it is `BYTE`.
#[inline(always)]
fn marks<const BYTE: u8>(block: &[u8; BLOCK]) -> u64 {
    let (quarters, _) = block.as_chunks::<LANES>();
    quarters.iter().rev().fold(0, |marks, quarter| {
        let hits = u8x16::new(*quarter).simd_eq(u8x16::splat(BYTE));
        (marks << LANES) | u64::from(hits.to_bitmask())
    })
}
