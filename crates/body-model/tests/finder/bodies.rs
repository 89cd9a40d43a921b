//! Random JSON bodies that are valid, or nearly so, in many spellings.

/// A source of random numbers.
pub trait Draw {
    /// Draws a number from 0 up to, not including, `bound`.
    fn below(&mut self, bound: usize) -> usize;

    /// Returns true once in this many times.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Draws one of the choices.
    fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
}

/// SplitMix64, with the same numbers for the same seed everywhere.
pub struct Seeded(pub u64);

impl Draw for Seeded {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

const KEYS: [&str; 12] = ["a", "messages", "model", "models", "mode", "", "role", "\u{e9}", "模型", "\"", "\\", "x\ny"];

const ODD_KEYS: [&str; 6] = ["Model", "MODEL", "model", "model\0", "mo\u{200b}del", "model "];

const NAMES: [&str; 9] = ["m", "org/name-7b", "gpt 4", "模型", "\u{e9}\u{1f600}", "a\"b\\c", "", "\u{1}", "x:latest"];

/// The number of valid names, which come first.
const SANE_NAMES: usize = 6;

const TEXTS: [&str; 7] = [
    "",
    "hello",
    "},{\"model\":\"n\"",
    "a longer text that spans more than one word of the machine, and then some more to fill a block of bytes",
    "\\\"",
    "日本語のテキスト、少し長め。",
    "\u{1f600}\n\t\"",
];

const NUMBERS: [&str; 8] = ["0", "-1", "1.5e+10", "123456789012345678901234567890", "true", "false", "null", "-0.0"];

/// Returns a body. `odd` allows keys and values that the finder rejects.
pub fn body(draw: &mut impl Draw, odd: bool) -> String {
    let mut out = String::new();
    space(draw, &mut out);
    out.push('{');
    let before = draw.below(4);
    let after = draw.below(3);
    let models = match odd && draw.once_in(6) {
        true => draw.below(3),
        false => 1,
    };
    let mut members = Vec::new();
    for _ in 0..before {
        members.push(other_member(draw, odd));
    }
    for _ in 0..models {
        members.push(model_member(draw, odd));
    }
    for _ in 0..after {
        members.push(other_member(draw, odd));
    }
    out.push_str(&members.join(","));
    space(draw, &mut out);
    out.push('}');
    space(draw, &mut out);
    out
}

fn model_member(draw: &mut impl Draw, odd: bool) -> String {
    let value = match odd && draw.once_in(10) {
        true => value(draw, 1),
        false => {
            let name = NAMES[draw.below(if odd { NAMES.len() } else { SANE_NAMES })];
            string(draw, name)
        }
    };
    member(draw, "model", &value)
}

fn other_member(draw: &mut impl Draw, odd: bool) -> String {
    let key = match odd && draw.once_in(12) {
        true => draw.pick(&ODD_KEYS),
        false => loop {
            let key = draw.pick(&KEYS);
            if key != "model" {
                break key;
            }
        },
    };
    let value = value(draw, 3);
    member(draw, key, &value)
}

fn member(draw: &mut impl Draw, key: &str, value: &str) -> String {
    let mut out = String::new();
    space(draw, &mut out);
    out.push_str(&string(draw, key));
    space(draw, &mut out);
    out.push(':');
    space(draw, &mut out);
    out.push_str(value);
    space(draw, &mut out);
    out
}

fn value(draw: &mut impl Draw, depth: usize) -> String {
    let kind = draw.below(if depth == 0 { 2 } else { 4 });
    match kind {
        0 => {
            let text = draw.pick(&TEXTS);
            string(draw, text)
        }
        1 => draw.pick(&NUMBERS).to_owned(),
        kind => {
            let count = draw.below(4);
            let mut items = Vec::new();
            for _ in 0..count {
                let item = value(draw, depth - 1);
                items.push(match kind {
                    2 => {
                        let key = draw.pick(&KEYS);
                        member(draw, key, &item)
                    }
                    _ => item,
                });
            }
            let (open, close) = if kind == 2 { ('{', '}') } else { ('[', ']') };
            let mut out = String::from(open);
            space(draw, &mut out);
            out.push_str(&items.join(", "));
            out.push(close);
            out
        }
    }
}

/// Returns a string literal, with each character in one of the spellings that JSON has.
fn string(draw: &mut impl Draw, text: &str) -> String {
    let spelling = draw.below(4);
    let mut out = String::from("\"");
    for c in text.chars() {
        let must = c == '"' || c == '\\' || c < ' ';
        let escaped = spelling == 3 || (spelling == 2 && draw.once_in(3));
        match c {
            '"' | '\\' | '/' if must || escaped => out.extend(['\\', c]),
            '\n' if spelling < 2 => out.push_str("\\n"),
            '\t' if spelling < 2 => out.push_str("\\t"),
            _ if must || escaped => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&match draw.once_in(2) {
                        true => format!("\\u{unit:04x}"),
                        false => format!("\\u{unit:04X}"),
                    });
                }
            }
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

fn space(draw: &mut impl Draw, out: &mut String) {
    if draw.once_in(4) {
        out.push_str(draw.pick(&[" ", "\n", "\t", "\r\n", "  ", "\n            "]));
    }
}

/// Spoils a body: removes, doubles, swaps or changes bytes in a few places.
pub fn spoil(draw: &mut impl Draw, body: &str) -> Vec<u8> {
    let mut bytes = body.as_bytes().to_vec();
    for _ in 0..=draw.below(2) {
        if bytes.is_empty() {
            break;
        }
        let at = draw.below(bytes.len());
        match draw.below(7) {
            0 => drop(bytes.remove(at)),
            1 => bytes.insert(at, b"\"\\{}[]:,/x 0\n"[draw.below(13)]),
            2 => bytes[at] = b"\"\\{}[]:,#'e-\t"[draw.below(13)],
            3 => bytes.truncate(at),
            4 => {
                let end = at + draw.below(bytes.len() - at).min(20);
                let fragment = bytes[at..end].to_vec();
                bytes.splice(at..at, fragment);
            }
            5 => bytes[at] = [0, 0x80, 0xff, 0xc3, 0xed, 0x1f, 0x7f][draw.below(7)],
            _ => {
                let fragment = draw.pick(&[
                    "NaN",
                    "-Infinity",
                    "1e999",
                    "//x\n",
                    "/**/",
                    "\\u12",
                    "\\ud800",
                    ",}",
                    "\"model\":\"z\",",
                ]);
                bytes.splice(at..at, fragment.bytes());
            }
        }
    }
    bytes
}
