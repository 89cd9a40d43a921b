//! The status page: HTML without scripts, which reloads itself.

use std::fmt::{self, Write};
use std::hash::{BuildHasher, Hasher, RandomState};

use app::status::{ModelLine, Report, Severity, SourceLine, span};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};

use crate::adapters::shared::printable::is_unprintable;
use crate::adapters::status::{phase, severity};

/// Light or dark as the system is, with tables that become cards on a phone.
const STYLE: &str = include_str!("status_page.css");
const REFRESH_SECONDS: u32 = 3;

/// Returns the page, with headers that allow its own style and nothing else.
pub fn response(report: &Report) -> Response {
    let nonce = nonce();
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    let headers: [(HeaderName, String); 4] = [
        (CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    let mut html = String::new();
    // Writing into a string cannot fail.
    let _ = page(&mut html, report, &nonce);
    (headers, html).into_response()
}

/// Returns an unpredictable value that marks the style of this response as the proxy's own.
fn nonce() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}

fn page(out: &mut String, report: &Report, nonce: &str) -> fmt::Result {
    let wrong = report.containers.iter().filter(|line| line.level == Severity::Wrong).count();
    let headline = match (report.is_well(), wrong) {
        (true, _) => "All is well".to_owned(),
        (false, 0) => format!("The proxy is {}", phase(report.phase)),
        (false, 1) => "1 container needs attention".to_owned(),
        (false, many) => format!("{many} containers need attention"),
    };
    let headline = match report.sources.iter().any(|source| source.lost.is_some()) {
        true => "A source is unreachable".to_owned(),
        false => headline,
    };
    let mood = if report.is_well() { "good" } else { "wrong" };
    write!(
        out,
        "<!doctype html><html lang=en><head><meta charset=utf-8>\
         <meta name=viewport content='width=device-width,initial-scale=1'>\
         <meta http-equiv=refresh content={REFRESH_SECONDS}><meta name=color-scheme content='light dark'>\
         <title>{headline} · lw-inference-proxy</title><link rel=icon href='data:,'>\
         <style nonce={nonce}>{STYLE}</style></head><body><header><h1><i class='dot {mood}'></i>{headline}</h1>\
         <p>lw-inference-proxy {} · {}</p></header><main>",
        Text(&report.version),
        phase(report.phase)
    )?;
    report.sources.iter().try_for_each(|source| lost(out, source))?;
    models(out, &report.models)?;
    containers(out, report)?;
    write!(
        out,
        "</main><footer>Refreshes itself every {REFRESH_SECONDS} s. The same as JSON: \
         <code>curl …/status</code></footer></body></html>"
    )
}

fn lost(out: &mut String, source: &SourceLine) -> fmt::Result {
    match &source.lost {
        None => Ok(()),
        Some(reason) => write!(
            out,
            "<p class=alarm><b>{}</b> is unreachable: {}. Known backends stay in service; the proxy keeps trying.</p>",
            Text(&source.name),
            Text(reason)
        ),
    }
}

fn models(out: &mut String, models: &[ModelLine]) -> fmt::Result {
    write!(out, "<section><h2>Models <small>{}</small></h2>", models.len())?;
    if models.is_empty() {
        return out.write_str("<p class=empty>No model is served yet.</p></section>");
    }
    // Requests in flight are counted by container, over all its models: the other table shows them.
    out.write_str("<table><thead><tr><th>Model<th>Served by<th>Address<th class=n>Since</thead><tbody>")?;
    for line in models {
        write!(
            out,
            "<tr><td class=name data-k=Model>{}<td data-k='Served by'>{}",
            Text(&line.model),
            Text(&line.served_by())
        )?;
        if !line.behind.is_empty() {
            write!(out, " <small>then {}</small>", Text(&line.behind.join(", ")))?;
        }
        write!(
            out,
            "<td class=mono data-k=Address>{}<td class=n data-k=Since>{}",
            Text(&line.address),
            span(line.since)
        )?;
    }
    out.write_str("</tbody></table></section>")
}

fn containers(out: &mut String, report: &Report) -> fmt::Result {
    let containers = &report.containers;
    write!(out, "<section><h2>Containers <small>{}</small></h2>", containers.len())?;
    if containers.is_empty() {
        return write!(out, "<p class=empty>{}</p></section>", report.no_container());
    }
    out.write_str(
        "<table><thead><tr><th>Container<th>State<th>Why<th class=n>In flight<th class=n>For</thead><tbody>",
    )?;
    for line in containers {
        let level = severity(line.level);
        write!(
            out,
            "<tr><td class=name data-k=Container>{}<small class=mono>{}</small>\
             <td data-k=State><span class='state {level}'>{}</span><td class=why data-k=Why>{}",
            Text(&line.name),
            Text(if line.id.starts_with("static:") { "PROXY_BACKENDS" } else { &line.id }),
            Text(&line.state),
            Text(&line.line)
        )?;
        if !line.models.is_empty() {
            write!(out, "<small>{}</small>", Text(&line.models.join(", ")))?;
        }
        line.notes.iter().try_for_each(|note| write!(out, "<p class=note>{}</p>", Text(note)))?;
        write!(out, "<td class=n data-k='In flight'>{}<td class=n data-k=For>{}", line.in_flight, span(line.since))?;
    }
    out.write_str("</tbody></table></section>")
}

/// Foreign text in HTML: without markup, and without characters that hide or reorder what follows.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c if is_unprintable(c) => f.write_char('\u{fffd}'),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use app::status::{ContainerLine, Phase};

    fn report(name: &str) -> Report {
        Report {
            version: "1".into(),
            phase: Phase::Ready,
            sources: vec![SourceLine { name: name.into(), lost: Some(name.into()) }],
            models: vec![ModelLine {
                model: name.into(),
                container: name.into(),
                address: name.into(),
                in_flight: 0,
                since: std::time::Duration::ZERO,
                replicas: vec![name.into()],
                behind: vec![name.into()],
            }],
            containers: vec![ContainerLine {
                name: name.into(),
                id: name.into(),
                address: None,
                level: Severity::Wrong,
                state: name.into(),
                line: name.into(),
                notes: vec![name.into()],
                in_flight: 0,
                since: std::time::Duration::ZERO,
                models: vec![name.into()],
            }],
        }
    }

    fn shown(report: &Report) -> String {
        let mut html = String::new();
        let _ = page(&mut html, report, "n");
        html
    }

    #[test]
    fn nothing_that_comes_from_a_container_is_markup() {
        let html = shown(&report("<script>alert('x')</script>\"&\u{202e}\u{1b}"));
        assert!(!html.contains("<script") && !html.contains('\u{202e}') && !html.contains('\u{1b}'));
        assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;"));
    }

    #[test]
    fn the_page_lets_nothing_but_its_own_style_have_an_effect() {
        let response = response(&report("m"));
        let policy = response.headers().get(CONTENT_SECURITY_POLICY).and_then(|value| value.to_str().ok());
        assert!(policy.is_some_and(|policy| policy.starts_with("default-src 'none'; style-src 'nonce-")));
        assert_ne!(nonce(), nonce());
    }
}
