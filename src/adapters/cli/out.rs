//! What the commands print. A reader that left, as `head` does, is no failure; a full disk is one.

use std::io::{self, ErrorKind, Write};

/// Writes text to standard output. Nothing is said of a reader that wants no more.
///
/// # Errors
/// The text cannot be written for another reason.
pub fn print(text: &str) -> io::Result<()> {
    written(&mut io::stdout().lock(), text)
}

/// Writes one line to standard error. There is nowhere left to say that it could not be written.
pub fn complain(line: impl std::fmt::Display) {
    let _ = written(&mut io::stderr().lock(), &format!("{line}\n"));
}

fn written(to: &mut impl Write, text: &str) -> io::Result<()> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
