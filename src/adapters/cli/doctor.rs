//! The `doctor` command: checks the sources, the proxy and every container.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use app::settings::Settings;
use app::status::{Phase, Report, Severity, Standing, report};
use domain::container::ContainerEvent;
use domain::table::{RoutingTable, SourceId, TableEvent};
use futures_util::StreamExt;
use ports::container_source::ContainerSource;
use tokio::time::timeout;

use super::report_text::{Style, clean, containers, text};
use super::status::fetch_report;
use super::{local_client, out, unwritten};

/// The timeout of the first snapshot of a source.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(10);

/// Prints findings as they come, and remembers whether anything needs attention.
struct Findings {
    style: Style,
    is_well: bool,
    written: io::Result<()>,
}

impl Findings {
    fn print(&mut self, text: &str) {
        if self.written.is_ok() {
            self.written = out::print(text);
        }
    }

    fn add(&mut self, severity: Severity, line: &str) {
        self.is_well &= severity != Severity::Wrong;
        self.print(&format!("{} {}\n", self.style.sign(severity), clean(line)));
    }
}

/// Checks everything and prints the findings. Returns exit code 1 if anything needs attention.
pub async fn doctor(settings: &Settings, sources: &[Arc<dyn ContainerSource>], style: Style) -> ExitCode {
    let mut findings = Findings { style, is_well: true, written: Ok(()) };
    findings.add(Severity::Good, "the settings are valid");
    let mut table = RoutingTable::<()>::new(settings.table_rules());
    let mut has_snapshot = false;
    for (number, source) in sources.iter().enumerate() {
        let (severity, line, snapshot) = check_source(&**source).await;
        findings.add(severity, &line);
        if let Some(event) = snapshot {
            has_snapshot = true;
            let id = SourceId(u8::try_from(number).unwrap_or(u8::MAX));
            table = table.apply(TableEvent::Source(id, event), Instant::now()).0;
        }
    }
    match check_proxy(settings, &mut findings) {
        Some(report) => {
            findings.is_well &= report.is_well();
            findings.print(&format!("\n{}", text(&report, style)));
        }
        None if has_snapshot => print_containers(&table, &mut findings),
        // Without a snapshot it is unknown whether there are containers.
        None => {}
    }
    match findings.written {
        Ok(()) => ExitCode::from(u8::from(!findings.is_well)),
        Err(error) => unwritten(&error),
    }
}

/// Takes one snapshot of a source. That needs all that the proxy needs of an engine: a connection, its list, an
/// inspection of each container, and its events.
async fn check_source(source: &dyn ContainerSource) -> (Severity, String, Option<ContainerEvent>) {
    let name = source.name();
    match timeout(SOURCE_TIMEOUT, source.watch().next()).await {
        Ok(Some(ContainerEvent::Snapshot(snapshot))) => {
            let (inspected, failed) = (snapshot.containers.len(), snapshot.uninspected.len());
            let count = inspected + failed;
            let shows = if failed == 0 { "shows them".to_owned() } else { format!("shows {inspected} of them") };
            let line = format!("{name} answers: it lists containers, {shows} and sends events; {count} opted in");
            (Severity::Good, line, Some(ContainerEvent::Snapshot(snapshot)))
        }
        Ok(Some(ContainerEvent::Disconnected(reason))) => (Severity::Wrong, format!("{name}: {reason}"), None),
        Ok(_) | Err(_) => {
            let seconds = SOURCE_TIMEOUT.as_secs();
            (Severity::Wrong, format!("{name} has not shown its containers within {seconds} s"), None)
        }
    }
}

fn check_proxy(settings: &Settings, findings: &mut Findings) -> Option<Report> {
    let address = local_client::proxy_address(settings);
    let reason = match fetch_report(address) {
        Ok(report) => {
            findings.add(Severity::Good, &format!("the proxy at http://{address} answers"));
            return Some(report);
        }
        Err(reason) => reason,
    };
    let is_healthy = local_client::get(address, "/healthz").is_ok_and(|response| response.has_status(200));
    findings.add(if is_healthy { Severity::Waiting } else { Severity::Wrong }, &reason);
    None
}

/// Judges the containers without a proxy, up to the point where it would list their models.
fn print_containers(table: &RoutingTable<()>, findings: &mut Findings) {
    let report = report(table, Standing { phase: Phase::Ready, sources: Vec::new(), now_millis: 0 }, Instant::now());
    findings.is_well &= report.is_well();
    let mut lines = vec![findings.style.dim("Without the status of a proxy, this is what its sources show:")];
    match report.containers.is_empty() {
        true => lines.push(report.no_container().to_owned()),
        false => containers(&report.containers, findings.style, &mut lines),
    }
    findings.print(&format!("\n{}\n", lines.join("\n")));
}
