//! The prefix of a prompt, as two hashes.
//!
//! Engines cache what they computed for a prefix, so requests with the same prefix are best served by the same engine.
//! Only the raw bytes of strings are hashed, in the order of the body: the system prompt wherever it is, then the first
//! message that is not part of it.

use super::json_state::Role;

/// The part of a prompt of one text that counts as shared by an application; a growing conversation begins with it.
const SHARED_TEXT_BYTES: u64 = 4 * 1024;

/// The longest key or role that is compared, in bytes.
const WORD_MAX: usize = 20;

/// The prefix of a prompt. Equal prefixes have equal hashes in every process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// The hash of the system prompt; if there is none, of the rest.
    pub shared: u64,
    /// The hash of that and the first message after it.
    pub conversation: u64,
}

/// The meaning of a top-level key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Other,
    /// `system`, `instructions`.
    System,
    /// `messages`, `input`: messages, or one text.
    Messages,
    /// `prompt`.
    Prompt,
    /// `prompt_cache_key`.
    CacheKey,
}

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Unknown,
    System,
    Other,
}

/// A hasher of the strings of a body.
#[derive(Debug, Clone)]
pub(super) struct PrefixHasher {
    part: Part,
    word: Word,
    /// Whether the last key of a message is `role`.
    after_role: bool,
    from: From,
    /// The number of the message that is being read.
    element: u32,
    message: Hash,
    has_message: bool,
    system: Hash,
    has_system: bool,
    first: Option<u64>,
    text: Hash,
    has_text: bool,
    /// The hash of the first [`SHARED_TEXT_BYTES`] of the text.
    text_shared: Option<u64>,
    cache_key: Option<Hash>,
    settled: bool,
}

/// The place of a chunk of a string.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) role: Role,
    /// The number of open brackets.
    pub(super) depth: usize,
    /// The number of values that were closed at the second level.
    pub(super) element: u32,
    /// Whether the string ends with this chunk.
    pub(super) ends: bool,
}

impl PrefixHasher {
    pub(super) fn new() -> Self {
        Self {
            part: Part::Other,
            word: Word::default(),
            after_role: false,
            from: From::Unknown,
            element: 0,
            message: Hash::new(),
            has_message: false,
            system: Hash::new(),
            has_system: false,
            first: None,
            text: Hash::new(),
            has_text: false,
            text_shared: None,
            cache_key: None,
            settled: false,
        }
    }

    /// Reads a complete key of the top level.
    pub(super) fn top_key(&mut self, key: &[u8]) {
        self.end_message();
        self.part = match key {
            b"system" | b"instructions" => Part::System,
            b"messages" | b"input" => Part::Messages,
            b"prompt" => Part::Prompt,
            b"prompt_cache_key" => Part::CacheKey,
            _ => Part::Other,
        };
    }

    /// Reads a chunk of a key of the top level.
    pub(super) fn top_key_chunk(&mut self, chunk: &[u8], ends: bool) {
        self.word.push(chunk);
        if ends {
            let word = std::mem::take(&mut self.word);
            self.top_key(word.bytes());
        }
    }

    /// Reads a chunk of any other string.
    pub(super) fn string(&mut self, chunk: &[u8], place: Place) {
        match (self.part, place.depth) {
            _ if self.settled => {}
            (Part::Other, _) => {}
            (Part::System, _) => {
                self.has_system = true;
                self.system.string(chunk, place.ends);
            }
            (Part::CacheKey, 1) => self.cache_key.get_or_insert_with(Hash::new).string(chunk, place.ends),
            (Part::CacheKey, _) => {}
            (Part::Prompt, _) | (Part::Messages, 1 | 2) => self.text(chunk, place.ends),
            (Part::Messages, _) => self.message(chunk, place),
        }
    }

    /// Reads a chunk of a prompt of one text or several.
    fn text(&mut self, chunk: &[u8], ends: bool) {
        self.has_text = true;
        let room = SHARED_TEXT_BYTES.saturating_sub(self.text.len);
        let (shared, rest) = chunk.split_at(chunk.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
        self.text.write(shared);
        if !rest.is_empty() {
            let so_far = self.text.sum();
            self.text_shared.get_or_insert(so_far);
            self.text.write(rest);
        }
        if ends {
            self.text.end();
        }
    }

    fn message(&mut self, chunk: &[u8], place: Place) {
        if self.first.is_some() {
            return;
        }
        if self.element != place.element {
            self.end_message();
            self.element = place.element;
            if self.first.is_some() {
                return;
            }
        }
        self.has_message = true;
        if place.depth == 3 {
            self.word.push(chunk);
            if place.ends {
                let word = std::mem::take(&mut self.word);
                match place.role {
                    Role::NestedKey => self.after_role = word.bytes() == b"role",
                    _ if self.after_role => self.from = author(word.bytes()),
                    _ => {}
                }
            }
        }
        self.message.string(chunk, place.ends);
    }

    /// Ends the message that is being read, if there is one.
    fn end_message(&mut self) {
        self.word = Word::default();
        self.after_role = false;
        let from = std::mem::replace(&mut self.from, From::Unknown);
        if !std::mem::take(&mut self.has_message) {
            return;
        }
        let message = std::mem::replace(&mut self.message, Hash::new()).sum();
        if self.first.is_some() {
            return;
        }
        if from == From::System {
            self.has_system = true;
            self.system.word(message);
        } else {
            self.first = Some(message);
        }
    }

    /// Ends the prefix at the end of the body, or of its part that counts.
    pub(super) fn settle(&mut self) {
        self.end_message();
        self.settled = true;
    }

    /// Returns true if the rest of the body cannot change the prefix. A system prompt or a cache key may follow the
    /// messages, so it changes until the end.
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Returns the prefix, if there is a prompt.
    pub(super) fn prefix(&self) -> Option<Prefix> {
        if let Some(key) = &self.cache_key {
            let key = key.sum();
            return Some(Prefix { shared: key, conversation: key });
        }
        let first = match self.first {
            Some(first) => Some((first, first)),
            None => self.has_text.then(|| (self.text_shared.unwrap_or(self.text.sum()), self.text.sum())),
        };
        let with_system = |rest: u64| {
            let mut both = self.system;
            both.word(rest);
            both.sum()
        };
        match (self.has_system, first) {
            (false, None) => None,
            (true, None) => Some(Prefix { shared: self.system.sum(), conversation: self.system.sum() }),
            (true, Some((_, whole))) => Some(Prefix { shared: self.system.sum(), conversation: with_system(whole) }),
            (false, Some((shared, whole))) => Some(Prefix { shared, conversation: whole }),
        }
    }
}

/// Returns the author with this role.
fn author(role: &[u8]) -> From {
    match role {
        b"system" | b"developer" => From::System,
        _ => From::Other,
    }
}

/// The first bytes of a string.
#[derive(Debug, Clone, Default)]
struct Word {
    kept: [u8; WORD_MAX],
    len: usize,
}

impl Word {
    fn push(&mut self, chunk: &[u8]) {
        for (place, byte) in self.kept.iter_mut().skip(self.len).zip(chunk) {
            *place = *byte;
        }
        self.len = (self.len + chunk.len()).min(WORD_MAX);
    }

    fn bytes(&self) -> &[u8] {
        self.kept.get(..self.len).unwrap_or_default()
    }
}

/// An incremental hash that does not depend on the chunks. It does not resist collisions: a client that makes two texts
/// with the same hash only sends both to one engine.
#[derive(Debug, Clone, Copy)]
struct Hash {
    state: u64,
    tail: [u8; LANE],
    /// The number of bytes so far.
    len: u64,
}

/// The number of bytes that are hashed at a time.
const LANE: usize = 16;

const SECRET: [u64; 3] = [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db, 0x8ebc_6af0_9c88_c6e3];

impl Hash {
    const fn new() -> Self {
        Self { state: SECRET[2], tail: [0; LANE], len: 0 }
    }

    fn string(&mut self, chunk: &[u8], ends: bool) {
        self.write(chunk);
        if ends {
            self.end();
        }
    }

    /// Marks the end of a string, so that `ab`, `c` and `a`, `bc` differ. A raw string contains no quote.
    fn end(&mut self) {
        self.write(b"\"");
    }

    fn word(&mut self, word: u64) {
        self.write(&word.to_le_bytes());
    }

    fn write(&mut self, bytes: &[u8]) {
        let waiting = self.len as usize % LANE;
        self.len += bytes.len() as u64;
        let mut rest = bytes;
        if waiting > 0 {
            let (head, after) = rest.split_at(rest.len().min(LANE - waiting));
            for (place, byte) in self.tail.iter_mut().skip(waiting).zip(head) {
                *place = *byte;
            }
            if waiting + head.len() < LANE {
                return;
            }
            self.state = lane(self.state, &self.tail);
            rest = after;
        }
        let (lanes, after) = rest.as_chunks::<LANE>();
        self.state = lanes.iter().fold(self.state, lane);
        for (place, byte) in self.tail.iter_mut().zip(after) {
            *place = *byte;
        }
    }

    fn sum(&self) -> u64 {
        let mut tail = self.tail;
        tail.iter_mut().skip(self.len as usize % LANE).for_each(|byte| *byte = 0);
        fold(lane(self.state, &tail) ^ self.len, SECRET[0])
    }
}

/// Hashes one lane: both halves of the product of two words, as in wyhash.
#[inline(always)]
fn lane(state: u64, bytes: &[u8; LANE]) -> u64 {
    let both = u128::from_le_bytes(*bytes);
    fold(both as u64 ^ SECRET[1], (both >> 64) as u64 ^ state)
}

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}
