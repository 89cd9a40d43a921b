//! The figure of BENCHMARKS.md: bars of what the table says, readable on light and on dark.

use crate::compare::Findings;
use crate::peers::Peer;
use crate::scenario::Scenario;

const WIDTH: f64 = 720.0;
const LEFT: f64 = 170.0;
const BAR_MAX: f64 = 440.0;
const ROW: f64 = 22.0;
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}.t{font-weight:600}.n{fill:#59636e}\
    .b{fill:#afb8c1}.o{fill:#1a7f64}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.n{fill:#9198a1}\
    .b{fill:#545d68}.o{fill:#3fb68b}}";
const PEERS: [Peer; 4] = [Peer::Ours, Peer::Nginx, Peer::Haproxy, Peer::Sglang];

/// A panel: its title, what it is measured in, and a bar for each peer.
type Panel = (&'static str, &'static str, Vec<(Peer, f64)>);

/// The figure.
pub fn svg(findings: &Findings) -> String {
    let mut panels: Vec<Panel> = Vec::new();
    for (title, scenario) in [
        ("CPU per small request, nginx = 1", Scenario::Small),
        ("CPU per streamed event, nginx = 1", Scenario::ZeroGap),
        ("CPU per 1 MB body with the model last, nginx = 1", Scenario::ModelLast),
    ] {
        let bars = PEERS.iter().filter_map(|peer| Some((*peer, findings.ratio(*peer, scenario)?))).collect();
        panels.push((title, "×", bars));
    }
    let last_step = |peer: &Peer| findings.peers.get(peer)?.memory.per_stream.last().map(|(_, kb)| (*peer, *kb));
    panels.push(("Memory per open stream, kB", "kB", PEERS.iter().filter_map(last_step).collect()));
    let (mut y, mut body) = (8.0, String::new());
    for (title, unit, bars) in &panels {
        y += 20.0;
        body += &format!("<text class=\"t\" x=\"8\" y=\"{y}\">{title}</text>\n");
        y += 8.0;
        let longest = bars.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
        for (peer, value) in bars {
            let (length, class) = (value / longest * BAR_MAX, if *peer == Peer::Ours { "o" } else { "b" });
            let middle = y + 15.0;
            body += &format!(
                "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>\
                 <rect class=\"{class}\" x=\"{LEFT}\" y=\"{}\" width=\"{length:.1}\" height=\"14\" rx=\"2\"/>\
                 <text class=\"n\" x=\"{:.1}\" y=\"{middle}\">{}</text>\n",
                LEFT - 8.0,
                peer.name(),
                y + 4.0,
                LEFT + length + 6.0,
                label(*value, unit)
            );
            y += ROW;
        }
        y += 8.0;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" role=\"img\" \
         aria-label=\"What the proxies cost, compared\">\n<style>{STYLE}</style>\n{body}</svg>\n"
    )
}

fn label(value: f64, unit: &str) -> String {
    match unit {
        "×" => format!("× {value:.2}"),
        _ => format!("{value:.0} {unit}"),
    }
}
