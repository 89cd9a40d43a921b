//! Charsets by their names at IANA, WHATWG and Python, and their relation to ASCII.

/// The relation of a charset to UTF-8 and ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    Utf8,
    /// ASCII bytes are ASCII; all others differ from UTF-8.
    AsciiCompatible,
    /// Unknown, or one in which an ASCII byte may mean something else: UTF-16, UTF-7, ISO-2022, EBCDIC, and those whose
    /// second bytes may be backslashes (Shift_JIS, Big5, GBK; `gb2312` is another name of GBK in browsers).
    Other,
}

impl Charset {
    /// Parses the name of a charset, which may be in quotes of either kind.
    pub(super) fn parse(name: &[u8]) -> Self {
        if name.eq_ignore_ascii_case(b"utf-8") {
            return Self::Utf8;
        }
        let Some(plain) = plain(name) else { return Self::Other };
        let bare = plain.strip_prefix("cs").or_else(|| plain.strip_prefix('x')).unwrap_or(&plain);
        if UTF_8.contains(&bare) {
            Self::Utf8
        } else if NAMED.contains(&bare) || is_numbered(bare) {
            Self::AsciiCompatible
        } else {
            Self::Other
        }
    }
}

/// The other names of UTF-8.
const UTF_8: [&str; 7] = ["utf8", "utf8sig", "utf8mb3", "utf8mb4", "unicode11utf8", "unicode20utf8", "cp65001"];

/// Charsets that keep ASCII. The EUC encodings have several bytes for a character, all with the top bit set.
const NAMED: [&str; 62] = [
    "usascii",
    "ascii",
    "us",
    "646",
    "iso646us",
    "iso646irv1991",
    "ansix341968",
    "ansix341986",
    "isolatin",
    "latin",
    "8859",
    "iso8859",
    "isolatincyrillic",
    "isolatingreek",
    "isolatinarabic",
    "isolatinhebrew",
    "ecma114",
    "ecma118",
    "asmo708",
    "elot928",
    "arabic",
    "cyrillic",
    "greek",
    "greek8",
    "hebrew",
    "logical",
    "visual",
    "thai",
    "turkish",
    "tis620",
    "koi8",
    "koi8r",
    "koi8u",
    "koi8t",
    "koi8ru",
    "koi",
    "macintosh",
    "mac",
    "macroman",
    "maclatin",
    "maclatin2",
    "maccyrillic",
    "macukrainian",
    "macukraine",
    "macgreek",
    "macturkish",
    "maciceland",
    "maccroatian",
    "macromania",
    "maccentraleurope",
    "maccenteuro",
    "hproman8",
    "roman8",
    "r8",
    "userdefined",
    "ptcp154",
    "kz1048",
    "rk1048",
    "strk10482002",
    "eucjp",
    "euckr",
    "armscii8",
];

/// Single-byte code pages that keep ASCII.
const CODE_PAGES: [u16; 31] = [
    367, 437, 720, 737, 775, 819, 850, 852, 855, 856, 857, 858, 860, 861, 862, 863, 865, 866, 869, 874, 1006, 1125,
    1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257, 1258,
];

/// The ISO registry numbers of single-byte charsets that keep ASCII.
const ISO_REGISTRY: [u16; 15] = [6, 100, 101, 109, 110, 126, 127, 138, 144, 148, 157, 166, 199, 203, 226];

/// The longest name, in bytes.
const LONGEST: usize = 40;

/// Returns true for a name of a numbered family: ISO 8859, Latin, code pages.
fn is_numbered(name: &str) -> bool {
    let split = name.find(|c: char| c.is_ascii_digit()).unwrap_or(name.len());
    let (family, number) = name.split_at(split);
    let of = |number: &str| number.parse::<u16>().ok().filter(|_| !number.starts_with('0'));
    let part_of_8859 = |number: &str| {
        let part = number.strip_prefix("8859").unwrap_or_default();
        // For Hebrew and Arabic a letter may name the direction.
        of(part.trim_end_matches(['e', 'i'])).is_some_and(|part| (1..=16).contains(&part))
    };
    match family {
        "iso" => part_of_8859(number),
        "latin" | "l" | "isolatin" => of(number).is_some_and(|number| (1..=10).contains(&number)),
        "isoir" => of(number).is_some_and(|number| ISO_REGISTRY.contains(&number)),
        "windows" | "win" | "cp" | "ibm" | "dos" => of(number).is_some_and(|number| CODE_PAGES.contains(&number)),
        "" => part_of_8859(number) || of(number).is_some_and(|number| CODE_PAGES.contains(&number)),
        _ => false,
    }
}

/// Returns the letters and digits of a name in lower case, without the year that may follow; `None` if it is not a name.
fn plain(name: &[u8]) -> Option<String> {
    if name.len() > LONGEST {
        return None;
    }
    let mut plain = String::with_capacity(name.len());
    for &byte in name {
        match byte {
            b':' => break,
            _ if byte.is_ascii_alphanumeric() => plain.push(byte.to_ascii_lowercase().into()),
            b'-' | b'_' | b'.' | b' ' | b'"' | b'\'' => {}
            _ => return None,
        }
    }
    Some(plain)
}
