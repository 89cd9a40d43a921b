//! The report as text: in colour on a terminal, plain elsewhere.

use std::io::{IsTerminal, stdout};

use crate::app::status::{ContainerLine, Level, Phase, Report, span};

/// Whether text carries colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// ANSI colours.
    Coloured,
    /// Nothing but text.
    Plain,
}

impl Ink {
    /// Colours on a terminal, unless `NO_COLOR` is set to anything (no-color.org).
    pub fn of_stdout(variable: impl Fn(&str) -> Option<String>) -> Self {
        match stdout().is_terminal() && variable("NO_COLOR").is_none_or(|value| value.is_empty()) {
            true => Self::Coloured,
            false => Self::Plain,
        }
    }

    fn dye(self, code: &str, text: &str) -> String {
        match self {
            Self::Coloured => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Self::Plain => text.to_owned(),
        }
    }

    /// Text that stands back.
    pub fn dim(self, text: &str) -> String {
        self.dye("2", text)
    }

    /// Text that stands out.
    pub fn bold(self, text: &str) -> String {
        self.dye("1", text)
    }

    /// Text in the colour of a level.
    pub fn level(self, level: Level, text: &str) -> String {
        match level {
            Level::Good => self.dye("32", text),
            Level::Waiting => self.dye("33", text),
            Level::Wrong => self.dye("31", text),
        }
    }

    /// A sign for a level, which is different without colours, too.
    pub fn sign(self, level: Level) -> String {
        let sign = match level {
            Level::Good => "✓",
            Level::Waiting => "…",
            Level::Wrong => "✗",
        };
        self.level(level, sign)
    }
}

/// The whole report.
pub fn text(report: &Report, ink: Ink) -> String {
    let mut lines = Vec::new();
    let phase = match report.phase {
        Phase::Ready => ink.level(Level::Good, "ready"),
        Phase::Starting => ink.level(Level::Waiting, "starting"),
        Phase::Stopping => ink.level(Level::Waiting, "stopping"),
    };
    lines.push(format!("{} {phase}", ink.bold(&format!("lw-inference-proxy {}", clean(&report.version)))));
    for source in &report.sources {
        if let Some(reason) = &source.lost {
            let said = format!("{} is out of sight: {}", clean(&source.name), clean(reason));
            lines.push(format!("{} {said}", ink.sign(Level::Wrong)));
        }
    }
    lines.push(String::new());
    models(report, ink, &mut lines);
    lines.push(String::new());
    containers(&report.containers, ink, &mut lines);
    lines.join("\n") + "\n"
}

fn models(report: &Report, ink: Ink, lines: &mut Vec<String>) {
    if report.models.is_empty() {
        return lines.push("No model is served.".to_owned());
    }
    let mut rows = vec![["MODEL", "SERVED BY", "ADDRESS", "IN FLIGHT", "SINCE"].map(str::to_owned)];
    rows.extend(report.models.iter().map(|line| {
        let behind = match line.behind.is_empty() {
            true => String::new(),
            false => format!(" (then {})", line.behind.join(", ")),
        };
        [
            clean(&line.model),
            clean(&format!("{}{behind}", line.container)),
            clean(&line.address),
            line.in_flight.to_string(),
            span(line.since),
        ]
    }));
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths = [0, 1, 2, 3, 4].map(width);
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let line = cells.join("  ").trim_end().to_owned();
        lines.push(if number == 0 { ink.dim(&line) } else { line });
    }
}

/// One line for each container; what else one should know stands below it.
pub fn containers(containers: &[ContainerLine], ink: Ink, lines: &mut Vec<String>) {
    if containers.is_empty() {
        return lines.push("No container carries the label inference.enable=true.".to_owned());
    }
    for line in containers {
        let state = ink.level(line.level, &clean(&line.state));
        let name = ink.bold(&clean(&line.name));
        lines.push(format!("{} {name}  {state}  {}", ink.sign(line.level), clean(&line.line)));
        let notes = line.notes.iter().map(|note| format!("  {} {}", ink.level(Level::Waiting, "!"), clean(note)));
        lines.extend(notes);
    }
}

/// A text from outside without anything that a terminal would obey.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::status::ModelLine;
    use std::time::Duration;

    #[test]
    fn nothing_from_outside_moves_the_cursor_and_columns_line_up() {
        let model = |model: &str| ModelLine {
            model: model.into(),
            container: "c\u{1b}[2J".into(),
            address: "127.0.0.1:1".into(),
            in_flight: 0,
            since: Duration::from_secs(5),
            behind: vec!["old".into()],
        };
        let models = vec![model("a"), model("a/long/name")];
        let report =
            Report { version: "1".into(), phase: Phase::Ready, sources: Vec::new(), models, containers: Vec::new() };
        let plain = text(&report, Ink::Plain);
        assert!(!plain.contains('\u{1b}'), "{plain}");
        let at: Vec<_> = plain.lines().filter_map(|line| line.chars().position(|c| c == '(')).collect();
        assert!(at.len() == 2 && at[0] == at[1], "{plain}");
        assert!(text(&report, Ink::Coloured).contains("\u{1b}[32mready\u{1b}[0m"));
    }
}
