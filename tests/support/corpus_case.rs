//! The files of the corpus: some lines on what is expected, `---`, and the bytes.
//!
//! In the bytes the line ends of the file mean nothing: `\r`, `\n`, `\t`, `\\` and `\x00` are escapes, and `{100*a}`
//! is the letter a hundred times.

use std::path::{Path, PathBuf};

/// One file.
#[derive(Debug, Clone)]
pub struct Case {
    path: PathBuf,
    pub name: String,
    pub bytes: Vec<u8>,
    fields: Vec<(String, String)>,
}

impl Case {
    /// Every case of a folder of the corpus.
    pub fn all(folder: &str) -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(folder);
        let mut cases: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                Self::read(name, path)
            })
            .collect();
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        cases
    }

    fn read(name: String, path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).unwrap();
        let (head, bytes) = text.split_once("---\n").unwrap_or_else(|| panic!("{name}: no ---"));
        let fields = head.lines().map(|line| {
            let (key, value) = line.split_once(':').unwrap_or_else(|| panic!("{name}: {line}"));
            (key.to_owned(), value.trim().to_owned())
        });
        Self { bytes: unescape(bytes), fields: fields.collect(), name, path }
    }

    /// Every value of a field.
    pub fn each<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// The value of a field.
    pub fn field(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// Puts a field before the bytes, in place of the one of that name.
    pub fn note(&self, key: &str, value: &str) {
        let text = std::fs::read_to_string(&self.path).unwrap();
        let (head, bytes) = text.split_once("---\n").unwrap();
        let own = format!("{key}: ");
        let mut lines: Vec<_> = head.lines().filter(|line| !line.starts_with(&own)).map(str::to_owned).collect();
        lines.push(own + value);
        std::fs::write(&self.path, format!("{}\n---\n{bytes}", lines.join("\n"))).unwrap();
    }

    /// Whether a field says yes.
    pub fn says(&self, key: &str) -> bool {
        self.field(key) == Some("yes")
    }

    /// Whether `found` is one of the values, between bars, that a field allows.
    pub fn allows(&self, key: &str, found: &str) -> bool {
        self.field(key).is_some_and(|allowed| allowed.split('|').any(|one| one == found))
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let mut take = first.len_utf8();
        match first {
            '\n' => {}
            '\\' => {
                let (byte, length) = match &rest.as_bytes()[1] {
                    b'r' => (b'\r', 2),
                    b'n' => (b'\n', 2),
                    b't' => (b'\t', 2),
                    b'\\' => (b'\\', 2),
                    b'x' => (u8::from_str_radix(&rest[2..4], 16).unwrap(), 4),
                    other => panic!("an escape that is none: {}", char::from(*other)),
                };
                bytes.push(byte);
                take = length;
            }
            '{' => match repeated(rest) {
                Some((count, byte, length)) => {
                    bytes.resize(bytes.len() + count, byte);
                    take = length;
                }
                None => bytes.push(b'{'),
            },
            _ => bytes.extend_from_slice(&rest.as_bytes()[..take]),
        }
        rest = &rest[take..];
    }
    bytes
}

/// `{100*a}`: how often, what, and how long the text of it is.
fn repeated(text: &str) -> Option<(usize, u8, usize)> {
    let (inside, _) = text[1..].split_once('}')?;
    let (count, what) = inside.split_once('*')?;
    let [byte] = what.as_bytes() else { return None };
    Some((count.parse().ok()?, *byte, inside.len() + 2))
}
