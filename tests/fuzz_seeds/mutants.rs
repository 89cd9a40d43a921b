//! Inputs that are near to the seeds: the same ones in every run and on every machine.

/// Bytes that mean something in what the fuzzers read.
const TELLING: &[u8] = b"\"\\{}[]:,=%./?#&@\r\n\t \0\x1e\x7f\x80\xff09azAZ-+;*";
/// The longest mutant, in bytes.
const MUTANT_MAX_BYTES: usize = 16 * 1024;
/// The most changes that are made to one seed.
const MOST_CHANGES: usize = 4;

/// An endless row of mutants.
pub struct Mutants<'a> {
    seeds: &'a [Vec<u8>],
    state: u64,
}

impl<'a> Mutants<'a> {
    /// Those of these seeds, of which there is at least one.
    pub fn of(seeds: &'a [Vec<u8>]) -> Self {
        Self { seeds, state: 1 }
    }

    /// A number below the bound, or zero (SplitMix64).
    fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }

    fn seed(&mut self) -> &'a [u8] {
        &self.seeds[self.below(self.seeds.len())]
    }

    /// Some place in it, and a few bytes from there on.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..start + self.below((length - start).min(32) + 1)
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len());
        match self.below(7) {
            0 if !input.is_empty() => input[at] ^= 1 << self.below(8),
            1 if !input.is_empty() => input[at] = TELLING[self.below(TELLING.len())],
            2 => input.insert(at, TELLING[self.below(TELLING.len())]),
            3 => {
                let range = self.range(input.len());
                input.drain(range);
            }
            4 => {
                let range = self.range(input.len());
                let again = input[range].to_vec();
                input.splice(at..at, again);
            }
            5 => {
                let other = self.seed();
                let range = self.range(other.len());
                input.splice(at..at, other[range].iter().copied());
            }
            _ => {
                let other = self.seed();
                input.truncate(at);
                input.extend_from_slice(&other[self.below(other.len())..]);
            }
        }
    }
}

impl Iterator for Mutants<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut mutant = self.seed().to_vec();
        for _ in 0..=self.below(MOST_CHANGES) {
            self.change(&mut mutant);
        }
        mutant.truncate(MUTANT_MAX_BYTES);
        Some(mutant)
    }
}
