//! Scans over many bytes at a time: short runs by machine words, long strings by blocks, other long runs by `memchr`.

use memchr::memchr2;

use super::byte_class::{is_space, is_word_byte};
use super::simd::{pass_blocks, pass_escape};

/// The bytes of a machine word.
const WORD: usize = 8;

const ONES: u64 = u64::from_le_bytes([0x01; WORD]);

const TOPS: u64 = u64::from_le_bytes([0x80; WORD]);

const SPACES: u64 = u64::from_le_bytes([b' '; WORD]);

/// Skips the rest of a string up to its closing quote. If the result does not begin with a quote, it is empty, or
/// begins with a backslash whose escape is invalid or incomplete in this chunk.
///
/// Most strings are keys and other short words, so the first word is checked inline.
#[inline(always)]
pub(super) fn to_quote(bytes: &[u8]) -> &[u8] {
    match to_special(bytes) {
        rest @ [b'"', ..] => rest,
        rest => to_quote_past_escapes(rest),
    }
}

/// As [`to_quote`], for a string that is longer or has escapes.
fn to_quote_past_escapes(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    loop {
        rest = match pass_blocks(rest) {
            rest @ ([] | [b'"', ..]) => return rest,
            rest @ [b'\\', ..] => match pass_escape(rest) {
                Some(after) => after,
                None => return rest,
            },
            rest => to_special(rest),
        };
    }
}

/// Skips to the first quote or backslash.
#[inline(always)]
pub(super) fn to_special(bytes: &[u8]) -> &[u8] {
    let Some((word, after)) = bytes.split_first_chunk::<WORD>() else {
        return find_either::<b'"', b'\\'>(bytes);
    };
    match marks::<b'"', b'\\'>(*word) {
        0 => find_either::<b'"', b'\\'>(after),
        marks => from_mark(bytes, marks),
    }
}

/// Skips white space.
#[inline]
pub(super) fn pass_space(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk::<WORD>() {
        let others = u64::from_le_bytes(*word) ^ SPACES;
        if others != 0 {
            let count = others.trailing_zeros() / u8::BITS;
            rest = rest.get(count as usize..).unwrap_or_default();
            break;
        }
        rest = after;
    }
    while let Some((&byte, after)) = rest.split_first()
        && is_space(byte)
    {
        rest = after;
    }
    rest
}

/// Skips the rest of a number or a word.
#[inline]
pub(super) fn pass_word(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first()
        && is_word_byte(byte)
    {
        rest = after;
    }
    rest
}

/// Skips to the first byte that is `A` or `B`, or to the end.
#[inline]
pub(super) fn find_either<const A: u8, const B: u8>(bytes: &[u8]) -> &[u8] {
    let hit = memchr2(A, B, bytes).unwrap_or(bytes.len());
    bytes.get(hit..).unwrap_or_default()
}

/// Marks the bytes of a word that are `A` or `B`, which are ASCII, with their top bit. The lowest mark is correct;
/// higher ones may not be, because the subtraction borrows upwards.
#[inline(always)]
fn marks<const A: u8, const B: u8>(word: [u8; WORD]) -> u64 {
    let word = u64::from_le_bytes(word);
    let a = (word ^ (ONES * A as u64)).wrapping_sub(ONES);
    let b = (word ^ (ONES * B as u64)).wrapping_sub(ONES);
    (a | b) & !word & TOPS
}

/// Skips to the lowest mark.
#[inline(always)]
fn from_mark(bytes: &[u8], marks: u64) -> &[u8] {
    let hit = marks.trailing_zeros() / u8::BITS;
    bytes.get(hit as usize..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::byte_class::{is_escaped, is_hex};
    use super::{find_either, to_quote};

    /// Returns the position that the fast search finds.
    fn fast(bytes: &[u8]) -> Option<usize> {
        let rest = find_either::<b'"', b'\\'>(bytes);
        (!rest.is_empty()).then(|| bytes.len() - rest.len())
    }

    /// Returns the position that it should find.
    fn slow(bytes: &[u8]) -> Option<usize> {
        bytes.iter().position(|&b| b == b'"' || b == b'\\')
    }

    #[test]
    fn it_agrees_with_the_plain_search_at_every_length_and_position() {
        for len in 0..230 {
            for filler in [b'a', b'#', b'[', 0, 0xff, 0x22 ^ 0x80] {
                let mut text = vec![filler; len];
                assert_eq!(fast(&text), None);
                for at in 0..len {
                    for hit in [b'"', b'\\'] {
                        text[at] = hit;
                        assert_eq!(fast(&text), slow(&text));
                        if let Some(next) = text.get_mut(at + 1) {
                            *next = b'"';
                            assert_eq!(fast(&text), slow(&text));
                            text[at + 1] = filler;
                        }
                        text[at] = filler;
                    }
                }
            }
        }
    }

    /// Returns the offset of the end of the string, or of an escape that is invalid or incomplete, byte by byte.
    fn end_of_string(bytes: &[u8]) -> usize {
        let mut at = 0;
        loop {
            at += match bytes.get(at..).unwrap_or_default() {
                [b'\\', b'u', digits @ ..] if digits.len() >= 4 && digits[..4].iter().all(|&b| is_hex(b)) => 6,
                [b'\\', byte, ..] if is_escaped(*byte) => 2,
                [] | [b'"' | b'\\', ..] => return at,
                _ => 1,
            }
        }
    }

    fn same_end(text: &[u8]) {
        let end = text.len() - to_quote(text).len();
        assert_eq!(end, end_of_string(text), "{:?}", String::from_utf8_lossy(text));
    }

    #[test]
    fn a_run_of_backslashes_is_read_alike_wherever_it_stands_and_whatever_follows() {
        for before in 0..140 {
            for run in 0..70 {
                for after in ["\"", "n", "u", "u00e9", "u00eg", "x", "t\"", ""] {
                    let mut text = vec![b'a'; before];
                    text.resize(before + run, b'\\');
                    text.extend_from_slice(after.as_bytes());
                    same_end(&text);
                    text.resize(text.len() + 100, b'n');
                    same_end(&text);
                }
            }
        }
    }

    #[test]
    fn strings_of_any_mixture_end_alike() {
        // A fixed sequence that looks random. Most fragments are valid in a string, so that it grows long.
        let fragments =
            ["a", "n", "\\n", "\\\\", "\\\"", "\\u00e9", "\\t", " plain text of some length ", "\u{e9}", "\"", "\\x"];
        let mut state = 1_u32;
        for _ in 0..20_000 {
            let mut text = Vec::new();
            for _ in 0..60 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let last = if state >> 16 & 31 == 0 { fragments.len() } else { fragments.len() - 2 };
                text.extend_from_slice(fragments[(state >> 24) as usize % last].as_bytes());
            }
            same_end(&text);
        }
    }
}
