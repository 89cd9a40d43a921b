//! Output of the commands. A closed pipe, as `head` leaves it, is not a failure; a full disk is.

use std::io::{self, ErrorKind, Write};

/// Writes text to standard output, and ignores a closed pipe.
pub fn print(text: &str) -> io::Result<()> {
    written(&mut io::stdout().lock(), text)
}

/// Writes one line to standard error, and ignores failures: nothing could report them.
pub fn complain(line: impl std::fmt::Display) {
    let _ = written(&mut io::stderr().lock(), &format!("{line}\n"));
}

fn written(to: &mut impl Write, text: &str) -> io::Result<()> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
