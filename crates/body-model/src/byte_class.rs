//! Classes of bytes in JSON.

/// Returns true for white space: exactly the four bytes of RFC 8259.
pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Returns true if a number, or one of `true`, `false`, `null`, `NaN` and `Infinity`, may begin with this byte.
pub(super) const fn begins_word(byte: u8) -> bool {
    BEGINS_WORD[byte as usize]
}

/// Returns true if a number or a word may contain this byte. Which word the bytes form is not checked: it cannot hide a
/// key.
pub(super) const fn is_word_byte(byte: u8) -> bool {
    IS_WORD[byte as usize]
}

/// Returns true if this byte may follow a backslash; except for `u`.
pub(super) const fn is_escaped(byte: u8) -> bool {
    IS_ESCAPED[byte as usize]
}

/// Returns true for a digit of a `\u` escape.
pub(super) const fn is_hex(byte: u8) -> bool {
    IS_HEX[byte as usize]
}

const BEGINS_WORD: [bool; 256] = {
    let mut table = [false; 256];
    let bytes = b"-0123456789tfnNI";
    let mut at = 0;
    while at < bytes.len() {
        table[bytes[at] as usize] = true;
        at += 1;
    }
    table
};

const IS_WORD: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
        byte += 1;
    }
    table
};

const IS_ESCAPED: [bool; 256] = {
    let mut table = [false; 256];
    let bytes = b"\"\\/bfnrt";
    let mut at = 0;
    while at < bytes.len() {
        table[bytes[at] as usize] = true;
        at += 1;
    }
    table
};

const IS_HEX: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_hexdigit();
        byte += 1;
    }
    table
};
