//! Finds one of two bytes in a slice, many bytes at a time and without unsafe code.

/// Bytes that are looked at together in the long run; the compiler makes vector instructions of it.
const BLOCK: usize = 32;

/// Bytes of one machine word.
const WORD: usize = 8;

/// A word of eight times `0x01`.
const ONES: u64 = u64::from_le_bytes([0x01; WORD]);

/// A word of eight times `0x80`.
const TOPS: u64 = u64::from_le_bytes([0x80; WORD]);

/// The position of the first byte that is `A` or `B`.
///
/// The first word is looked at on its own, because most strings are short; then whole blocks; then the words of the
/// block with the hit.
#[inline]
pub(super) fn find_either<const A: u8, const B: u8>(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    if let Some((word, after)) = rest.split_first_chunk::<WORD>() {
        let hits = hits::<A, B>(*word);
        if hits != 0 {
            return Some(first(hits));
        }
        rest = after;
    }
    while let Some((block, after)) = rest.split_first_chunk::<BLOCK>() {
        if has_either::<A, B>(block) {
            break;
        }
        rest = after;
    }
    while let Some((word, after)) = rest.split_first_chunk::<WORD>() {
        let hits = hits::<A, B>(*word);
        if hits != 0 {
            return Some(bytes.len() - rest.len() + first(hits));
        }
        rest = after;
    }
    let tail = rest.iter().position(|&b| b == A || b == B)?;
    Some(bytes.len() - rest.len() + tail)
}

/// Whether the block holds `A` or `B`. No early exit: that is what lets the compiler use vectors.
#[inline]
fn has_either<const A: u8, const B: u8>(block: &[u8; BLOCK]) -> bool {
    block.iter().fold(false, |found, &b| found | (b == A) | (b == B))
}

/// Marks the bytes of a word that are `A` or `B` with their top bit. The lowest mark is exact; higher ones may be
/// false, because the subtraction borrows upwards.
#[inline]
fn hits<const A: u8, const B: u8>(word: [u8; WORD]) -> u64 {
    let word = u64::from_le_bytes(word);
    let a = word ^ (ONES * A as u64);
    let b = word ^ (ONES * B as u64);
    ((a.wrapping_sub(ONES) & !a) | (b.wrapping_sub(ONES) & !b)) & TOPS
}

/// The position of the lowest mark.
#[inline]
fn first(hits: u64) -> usize {
    hits.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::find_either;

    /// What the fast search must agree with.
    fn slow(bytes: &[u8]) -> Option<usize> {
        bytes.iter().position(|&b| b == b'"' || b == b'\\')
    }

    #[test]
    fn it_agrees_with_the_plain_search_at_every_length_and_position() {
        for len in 0..150 {
            for filler in [b'a', b'#', b'[', 0, 0xff, 0x22 ^ 0x80, 0x5c ^ 1, 0x23] {
                let mut text = vec![filler; len];
                assert_eq!(find_either::<b'"', b'\\'>(&text), None);
                for at in 0..len {
                    for hit in [b'"', b'\\'] {
                        text[at] = hit;
                        assert_eq!(find_either::<b'"', b'\\'>(&text), slow(&text));
                        if let Some(next) = text.get_mut(at + 1) {
                            *next = b'"';
                            assert_eq!(find_either::<b'"', b'\\'>(&text), slow(&text));
                            text[at + 1] = filler;
                        }
                        text[at] = filler;
                    }
                }
            }
        }
    }
}
