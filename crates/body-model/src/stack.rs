//! The stack of open brackets, in a fixed number of bits.

use super::limits::MAX_DEPTH;

const WORD_BITS: usize = 64;
const WORDS: usize = MAX_DEPTH / WORD_BITS;

/// The open brackets, innermost last.
#[derive(Debug, Clone)]
pub(super) struct Stack {
    /// One bit for each open bracket, set for an object.
    objects: [u64; WORDS],
    depth: usize,
    /// The number of values that were closed at the second level, which numbers the messages of a list.
    elements: u32,
}

impl Stack {
    pub(super) const fn new() -> Self {
        Self { objects: [0; WORDS], depth: 0, elements: 0 }
    }

    /// Returns the number of open brackets.
    #[inline]
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Returns the number of values that were closed at the second level.
    #[inline]
    pub(super) fn elements(&self) -> u32 {
        self.elements
    }

    /// Opens a bracket. Returns false if it is too deep.
    #[inline]
    pub(super) fn open(&mut self, object: bool) -> bool {
        let Some(word) = self.objects.get_mut(self.depth / WORD_BITS) else {
            return false;
        };
        let bit = 1 << (self.depth % WORD_BITS);
        *word = if object { *word | bit } else { *word & !bit };
        self.depth += 1;
        true
    }

    /// Closes the innermost bracket. Returns false if it is of the other kind, or none is open.
    #[inline]
    pub(super) fn close(&mut self, object: bool) -> bool {
        if self.depth == 0 || self.in_object() != object {
            return false;
        }
        self.depth -= 1;
        self.elements = self.elements.wrapping_add(u32::from(self.depth == 2));
        true
    }

    /// Returns true if the innermost open bracket is an object's.
    #[inline]
    pub(super) fn in_object(&self) -> bool {
        let at = self.depth.wrapping_sub(1);
        self.objects.get(at / WORD_BITS).is_some_and(|word| word >> (at % WORD_BITS) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_close_in_the_order_and_kind_they_were_opened() {
        let mut stack = Stack::new();
        assert!(!stack.close(true) && !stack.close(false) && !stack.in_object());
        let object_at = |i: usize| i.is_multiple_of(3) || i % 64 == 63;
        for i in 0..MAX_DEPTH {
            assert!(stack.open(object_at(i)));
        }
        assert!(!stack.open(true), "one too deep");
        for i in (0..MAX_DEPTH).rev() {
            assert_eq!(stack.depth(), i + 1);
            assert_eq!(stack.in_object(), object_at(i));
            assert!(!stack.close(!object_at(i)));
            assert!(stack.close(object_at(i)));
        }
        assert_eq!(stack.depth(), 0);
    }
}
