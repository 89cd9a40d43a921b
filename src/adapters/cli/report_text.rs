//! The status report as text: colored on a terminal, plain elsewhere.

use std::io::{IsTerminal, stdout};

use app::status::{ContainerLine, ModelLine, Phase, Report, Severity, span};

use crate::adapters::shared::printable::printable;
use crate::adapters::status::phase;

/// The widest table; terminals are seldom narrower.
const TERMINAL_COLUMNS: usize = 80;
const COLUMN_GAP: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Colored,
    Plain,
}

impl Style {
    /// Returns `Colored` on a terminal, unless `NO_COLOR` is set to anything (no-color.org).
    pub fn of_stdout(variable: impl Fn(&str) -> Option<String>) -> Self {
        match stdout().is_terminal() && variable("NO_COLOR").is_none_or(|value| value.is_empty()) {
            true => Self::Colored,
            false => Self::Plain,
        }
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Colored => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Self::Plain => text.to_owned(),
        }
    }

    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub fn severity(self, severity: Severity, text: &str) -> String {
        match severity {
            Severity::Off => self.dim(text),
            Severity::Good => self.paint("32", text),
            Severity::Waiting => self.paint("33", text),
            Severity::Wrong => self.paint("31", text),
        }
    }

    /// Returns a sign that differs without colors as well.
    pub fn sign(self, severity: Severity) -> String {
        let sign = match severity {
            Severity::Off => "–",
            Severity::Good => "✓",
            Severity::Waiting => "…",
            Severity::Wrong => "✗",
        };
        self.severity(severity, sign)
    }
}

pub fn text(report: &Report, style: Style) -> String {
    let mut lines = Vec::new();
    let severity = if report.phase == Phase::Ready { Severity::Good } else { Severity::Waiting };
    let phase = style.severity(severity, phase(report.phase));
    lines.push(format!("{} {phase}", style.bold(&format!("lw-inference-proxy {}", clean(&report.version)))));
    for source in &report.sources {
        if let Some(reason) = &source.lost {
            let line = format!("{} is unreachable: {}", clean(&source.name), clean(reason));
            lines.push(format!("{} {line}", style.sign(Severity::Wrong)));
        }
    }
    lines.push(String::new());
    models(report, style, &mut lines);
    lines.push(String::new());
    match report.containers.is_empty() {
        true => lines.push(report.no_container().to_owned()),
        false => containers(&report.containers, style, &mut lines),
    }
    lines.join("\n") + "\n"
}

fn models(report: &Report, style: Style, lines: &mut Vec<String>) {
    if report.models.is_empty() {
        return lines.push("No model is served.".to_owned());
    }
    let behind = |line: &ModelLine| match line.behind.is_empty() {
        true => String::new(),
        false => format!(" (then {})", clean(&line.behind.join(", "))),
    };
    let mut rows = vec![["MODEL", "SERVED BY", "SINCE"].map(str::to_owned)];
    rows.extend(report.models.iter().map(|line| {
        let served_by = format!("{}{}", clean(&line.served_by()), behind(line));
        [clean(&line.model), served_by, span(line.since)]
    }));
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths = [0, 1, 2].map(width);
    if widths.iter().sum::<usize>() + COLUMN_GAP * (widths.len() - 1) > TERMINAL_COLUMNS {
        return model_by_model(&rows, style, lines);
    }
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let line = cells.join(&" ".repeat(COLUMN_GAP)).trim_end().to_owned();
        lines.push(if number == 0 { style.dim(&line) } else { line });
    }
}

/// Writes the rows of a table that is too wide: each model, and the rest of its row below.
fn model_by_model(rows: &[[String; 3]], style: Style, lines: &mut Vec<String>) {
    lines.push(style.dim("MODELS"));
    for [model, served_by, since] in rows.iter().skip(1) {
        lines.push(model.clone());
        lines.push(format!("  served by {served_by}, since {since}"));
    }
}

/// Writes one line for each container, with its notes below.
pub fn containers(containers: &[ContainerLine], style: Style, lines: &mut Vec<String>) {
    for line in containers {
        let state = style.severity(line.level, &clean(&line.state));
        let name = style.bold(&clean(&line.name));
        // A static backend has its address in its name.
        let address = match line.address.as_deref().filter(|address| !line.name.contains(address)) {
            Some(address) => format!("{}  ", style.dim(&clean(address))),
            None => String::new(),
        };
        // The line of a draining container includes the count.
        let in_flight = match line.in_flight {
            1.. if !line.line.contains("in flight") => format!(", {} in flight", line.in_flight),
            _ => String::new(),
        };
        let sign = style.sign(line.level);
        lines.push(format!("{sign} {name}  {state}  {address}{}{in_flight}", clean(&line.line)));
        let notes =
            line.notes.iter().map(|note| format!("  {} {}", style.severity(Severity::Waiting, "!"), clean(note)));
        lines.extend(notes);
    }
}

/// Returns foreign text without control characters for the terminal.
pub fn clean(text: &str) -> String {
    printable(text, '\u{fffd}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn model(model: &str, container: &str, behind: &[&str]) -> ModelLine {
        ModelLine {
            model: model.into(),
            container: container.into(),
            address: "127.0.0.1:1".into(),
            in_flight: 0,
            since: Duration::from_secs(5),
            replicas: Vec::new(),
            behind: behind.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn report(models: Vec<ModelLine>, containers: Vec<ContainerLine>) -> Report {
        Report { version: "1".into(), phase: Phase::Ready, sources: Vec::new(), models, containers }
    }

    #[test]
    fn nothing_from_outside_moves_the_cursor_and_columns_line_up() {
        let hostile = |name: &str| model(name, "c\u{1b}[2J", &["old"]);
        let report = report(vec![hostile("a"), hostile("a/long/name")], Vec::new());
        let plain = text(&report, Style::Plain);
        assert!(!plain.contains('\u{1b}'), "{plain}");
        let at: Vec<_> = plain.lines().filter_map(|line| line.chars().position(|c| c == '(')).collect();
        assert!(at.len() == 2 && at[0] == at[1], "{plain}");
        assert!(text(&report, Style::Colored).contains("\u{1b}[32mready\u{1b}[0m"));
    }

    #[test]
    fn no_table_is_wider_than_a_terminal() {
        let usual = model("meta-llama/Llama-3.1-8B-Instruct", "inference-sglang-llama-1", &[]);
        let table = text(&report(vec![usual.clone()], Vec::new()), Style::Plain);
        assert!(table.contains("SERVED BY") && table.lines().all(|line| line.chars().count() <= 80), "{table}");
        let long =
            model("RedHatAI/Mistral-Small-3.2-24B-Instruct-2506-quantized.w4a16", "mistral-with-a-long-name", &[]);
        let list = text(&report(vec![usual, long], Vec::new()), Style::Plain);
        let below = "Instruct-2506-quantized.w4a16\n  served by mistral-with-a-long-name, since 5 s\n";
        assert!(list.contains(below) && list.lines().all(|line| line.chars().count() <= 80), "{list}");
    }

    #[test]
    fn a_container_says_where_it_is_unless_its_name_does_and_what_is_in_flight() {
        let container = |name: &str, in_flight| ContainerLine {
            name: name.into(),
            id: "1".into(),
            address: Some("172.17.0.3:8000".into()),
            level: Severity::Good,
            state: "ready".into(),
            line: "serves 1 model".into(),
            notes: Vec::new(),
            in_flight,
            since: Duration::ZERO,
            models: Vec::new(),
        };
        let shown = text(
            &report(Vec::new(), vec![container("qwen", 3), container("http://172.17.0.3:8000/v1", 0)]),
            Style::Plain,
        );
        assert!(shown.contains("\u{2713} qwen  ready  172.17.0.3:8000  serves 1 model, 3 in flight\n"), "{shown}");
        assert!(shown.contains("\u{2713} http://172.17.0.3:8000/v1  ready  serves 1 model\n"), "{shown}");
    }
}
