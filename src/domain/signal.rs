//! Unix signals, as far as they stop a container.

use std::fmt;

/// A signal by its number on Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(pub u8);

/// The meaning of a signal to a container that serves requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// It asks the process to end.
    Stop,
    /// It ends the process at once.
    Kill,
    /// It does not matter to routing: reload, dump, resize.
    Other,
}

/// The first real-time signal, as the C library numbers it.
const RTMIN: u8 = 34;
/// The last real-time signal.
const RTMAX: u8 = 64;

const NAMES: [(&str, u8); 31] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

impl Signal {
    /// SIGINT.
    pub const INT: Self = Self(2);
    /// SIGQUIT.
    pub const QUIT: Self = Self(3);
    /// SIGKILL.
    pub const KILL: Self = Self(9);
    /// SIGTERM, which `docker stop` sends unless the image names another one.
    pub const TERM: Self = Self(15);

    /// Parses a signal as Docker writes it: `SIGQUIT`, `QUIT`, `3`, `SIGRTMIN+3`; empty means SIGTERM. Returns `None`
    /// if the text names no signal.
    pub fn parse(text: &str) -> Option<Self> {
        let upper = text.trim().to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if name.is_empty() {
            return Some(Self::TERM);
        }
        if let Ok(number) = name.parse::<u8>() {
            return (1..=RTMAX).contains(&number).then_some(Self(number));
        }
        if let Some(rest) = name.strip_prefix("RTMIN") {
            return offset(rest, '+').and_then(|n| RTMIN.checked_add(n)).filter(|n| *n <= RTMAX).map(Self);
        }
        if let Some(rest) = name.strip_prefix("RTMAX") {
            return offset(rest, '-').and_then(|n| RTMAX.checked_sub(n)).filter(|n| *n >= RTMIN).map(Self);
        }
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| Self(*number))
    }

    /// Returns the meaning of this signal to a container whose own stop signal is `stop_signal`.
    ///
    /// TERM, INT and QUIT count as stops whatever the image says: they are sent to end a process.
    pub fn meaning(self, stop_signal: Self) -> Meaning {
        match self {
            Self::KILL => Meaning::Kill,
            Self::TERM | Self::INT | Self::QUIT => Meaning::Stop,
            own if own == stop_signal => Meaning::Stop,
            _ => Meaning::Other,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => write!(f, "SIG{name}"),
            None => write!(f, "signal {}", self.0),
        }
    }
}

/// Returns the number after `RTMIN+` or `RTMAX-`; an empty text is zero.
fn offset(rest: &str, sign: char) -> Option<u8> {
    match rest.is_empty() {
        true => Some(0),
        false => rest.strip_prefix(sign)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form_that_docker_writes() {
        for (text, number) in [
            ("", 15),
            ("SIGTERM", 15),
            ("term", 15),
            ("QUIT", 3),
            ("3", 3),
            ("SIGRTMIN+3", 37),
            ("RTMIN", 34),
            ("SIGRTMAX-1", 63),
            ("WINCH", 28),
        ] {
            assert_eq!(Signal::parse(text), Some(Signal(number)), "{text:?}");
        }
        for text in ["0", "65", "SIGNONE", "RTMIN+31", "RTMAX-31", "RTMIN3", "-1"] {
            assert_eq!(Signal::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn tells_a_stop_from_a_kill_and_from_the_rest() {
        let usual = Signal::TERM;
        for stop in [Signal::TERM, Signal::INT, Signal::QUIT] {
            assert_eq!(stop.meaning(usual), Meaning::Stop);
        }
        assert_eq!(Signal::KILL.meaning(usual), Meaning::Kill);
        assert_eq!(Signal::KILL.meaning(Signal::KILL), Meaning::Kill);
        for other in [1, 10, 12, 18, 28] {
            assert_eq!(Signal(other).meaning(usual), Meaning::Other);
        }
        assert_eq!(Signal(1).meaning(Signal(1)), Meaning::Stop, "a container may be stopped by HUP");
        assert_eq!(Signal(37).meaning(Signal(37)), Meaning::Stop);
    }
}
