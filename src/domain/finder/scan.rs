//! Passes over many bytes at a time, without unsafe code: the loops are written so that the compiler makes vector
//! instructions of them.

/// Bytes that one vector register holds.
const LANE: usize = 16;

/// Bytes that are looked at together in a long run.
const BLOCK: usize = 64;

/// How many lanes are looked at singly before blocks are: most strings end there.
const LANES_FIRST: usize = 4;

/// What is left from the first byte on that is `A` or `B`; nothing if there is none.
#[inline]
pub(super) fn find_either<const A: u8, const B: u8>(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    let mut lanes = 0;
    while let Some((lane, after)) = rest.split_first_chunk::<LANE>() {
        let marks = marks::<A, B>(lane);
        if marks != 0 {
            let hit = marks.trailing_zeros() / u8::BITS;
            return rest.get(hit as usize..).unwrap_or_default();
        }
        rest = after;
        lanes += 1;
        if lanes == LANES_FIRST {
            rest = pass_blocks::<A, B>(rest);
        }
    }
    while let Some((&byte, after)) = rest.split_first() {
        if byte == A || byte == B {
            break;
        }
        rest = after;
    }
    rest
}

/// Marks the bytes that are `A` or `B`, the first in the lowest bits.
#[inline]
fn marks<const A: u8, const B: u8>(lane: &[u8; LANE]) -> u128 {
    u128::from_le_bytes(lane.map(|b| if (b == A) | (b == B) { 0xff } else { 0 }))
}

/// Passes over whole blocks that hold neither `A` nor `B`.
#[inline]
fn pass_blocks<const A: u8, const B: u8>(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let Some((block, after)) = rest.split_first_chunk::<BLOCK>() {
        // No early exit, and bytes instead of booleans: that is what makes vectors of it.
        let found = block
            .iter()
            .fold(0, |found, &b| found | u8::from((b == A) | (b == B)));
        if found != 0 {
            break;
        }
        rest = after;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::find_either;

    /// The position that is found.
    fn fast(bytes: &[u8]) -> Option<usize> {
        let rest = find_either::<b'"', b'\\'>(bytes);
        (!rest.is_empty()).then(|| bytes.len() - rest.len())
    }

    /// What the fast search must agree with.
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
}
