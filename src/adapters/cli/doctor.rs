//! Looks for what keeps the proxy from doing its work: its sources, itself, and every container.

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
use super::status::running;
use super::{ask, out, unwritten};

/// How long a source may take to show its containers.
const SOURCE_PATIENCE: Duration = Duration::from_secs(10);

/// Looks, and prints what it finds. Exit code 0 if nothing is wrong, else 1.
pub async fn doctor(settings: &Settings, sources: &[Arc<dyn ContainerSource>], style: Style) -> ExitCode {
    let mut well = true;
    let mut written = Ok(());
    let mut put = |text: &str| written = std::mem::replace(&mut written, Ok(())).and_then(|()| out::print(text));
    let mut say = |level: Severity, line: String| {
        well &= level != Severity::Wrong;
        put(&format!("{} {}\n", style.sign(level), clean(&line)));
    };
    say(Severity::Good, "the settings can be read".to_owned());
    let mut table = RoutingTable::<()>::new(settings.table_rules());
    let mut any_seen = false;
    for (number, source) in sources.iter().enumerate() {
        let (level, line, seen) = look(&**source).await;
        say(level, line);
        if let Some(event) = seen {
            any_seen = true;
            let id = SourceId(u8::try_from(number).unwrap_or(u8::MAX));
            table = table.apply(TableEvent::Source(id, event), Instant::now()).0;
        }
    }
    let address = ask::proxy(settings);
    let told = match (running(address), ask::get(address, "/healthz")) {
        (Ok(report), _) => {
            say(Severity::Good, format!("the proxy at http://{address} answers"));
            Some(report)
        }
        (Err(why), Ok(answer)) if answer.is(200) => {
            say(Severity::Waiting, why);
            None
        }
        (Err(why), _) => {
            say(Severity::Wrong, why);
            None
        }
    };
    match told {
        Some(report) => put(&format!("\n{}", told_by_proxy(&report, style, &mut well))),
        None if any_seen => put(&format!("\n{}", seen_by_itself(&table, Instant::now(), style, &mut well))),
        // Where nothing was seen, that there is no container would be a guess.
        None => {}
    }
    match written {
        Ok(()) => ExitCode::from(u8::from(!well)),
        Err(error) => unwritten(&error),
    }
}

/// How a source is: what the first word of it says. A snapshot needs all that the proxy needs of an engine: a
/// connection, its list, a look at each container, and its events.
async fn look(source: &dyn ContainerSource) -> (Severity, String, Option<ContainerEvent>) {
    let name = source.name();
    match timeout(SOURCE_PATIENCE, source.watch().next()).await {
        Ok(Some(ContainerEvent::Snapshot(all))) => {
            let (shown, hidden) = (all.containers.len(), all.uninspected.len());
            let count = shown + hidden;
            let shows = if hidden == 0 { "shows them".to_owned() } else { format!("shows {shown} of them") };
            let line = format!("{name} answers: it lists containers, {shows} and tells events; {count} opted in");
            (Severity::Good, line, Some(ContainerEvent::Snapshot(all)))
        }
        Ok(Some(ContainerEvent::Lost(reason))) => (Severity::Wrong, format!("{name}: {reason}"), None),
        Ok(_) | Err(_) => {
            let seconds = SOURCE_PATIENCE.as_secs();
            (Severity::Wrong, format!("{name} has not shown its containers within {seconds} s"), None)
        }
    }
}

fn told_by_proxy(report: &Report, style: Style, well: &mut bool) -> String {
    *well &= report.is_well();
    text(report, style)
}

/// Without a proxy to ask, the containers are judged from here, up to the point where they would be asked for models.
fn seen_by_itself(table: &RoutingTable<()>, now: Instant, style: Style, well: &mut bool) -> String {
    let report = report(table, Standing { phase: Phase::Ready, sources: Vec::new() }, now);
    *well &= report.is_well();
    let mut lines = vec![style.dim("The proxy does not say how it stands; this is seen from here:")];
    match report.containers.is_empty() {
        true => lines.push(report.no_container().to_owned()),
        false => containers(&report.containers, style, &mut lines),
    }
    lines.join("\n") + "\n"
}
