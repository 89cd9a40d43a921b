//! The contract of the `Telemetry` port: one suite, passed by the telemetry that is off, by the fake and by OpenTelemetry.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/fake_telemetry.rs"]
mod fake_telemetry;

use std::sync::Arc;
use std::time::Duration;

use domain::model_name::ModelName;
use fake_telemetry::{FakeTelemetry, Report};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use ports::telemetry::{
    Attempt, NoTelemetry, Outcome, RequestFinished, RequestRecord, RequestStart, TableAction, TableChange, Telemetry,
};

/// How many requests are reported where it matters that no report waits for anybody. More than any queue holds.
const MANY: u64 = 20_000;

const OUTCOMES: [Outcome; 5] =
    [Outcome::Complete, Outcome::Local, Outcome::ClientLeft, Outcome::BackendBroke, Outcome::ForceClosed];

const ACTIONS: [TableAction; 5] = [
    TableAction::Registered,
    TableAction::Draining,
    TableAction::Removed,
    TableAction::Collision,
    TableAction::ModelsChanged,
];

fn arrive(telemetry: &dyn Telemetry, headers: &HeaderMap) -> Option<Box<dyn RequestRecord>> {
    telemetry.request(&RequestStart {
        method: &Method::POST,
        path: "/v1/chat/completions",
        headers,
        request_id: "req-1",
        peer: ([192, 0, 2, 1], 4711).into(),
    })
}

fn try_backend(record: &mut dyn RequestRecord, registration: u64, headers: &mut HeaderMap) {
    let model = ModelName::parse("org/a").unwrap();
    let address = ([192, 0, 2, 9], 8000).into();
    record.attempt(
        &Attempt { model: &model, container: "llm", scheme: "http", address, base_path: "/v1", registration },
        headers,
    );
}

fn finished(outcome: Outcome) -> RequestFinished {
    RequestFinished {
        model: ModelName::parse("org/a").ok(),
        status: Some(StatusCode::OK),
        streamed: true,
        outcome,
        duration: Duration::from_secs(3),
        first_byte: Some(Duration::from_millis(40)),
        response_bytes: 17,
    }
}

fn change(action: TableAction) -> TableChange {
    TableChange {
        action,
        container: "llm".into(),
        scheme: "http",
        address: ([192, 0, 2, 9], 8000).into(),
        registration: 1,
        models: ModelName::parse("org/a").into_iter().collect(),
        reason: "it turned unhealthy".into(),
        removed: Vec::new(),
    }
}

/// A request may end in every way, after no attempt, one, or several of which all but the last failed.
fn a_request_may_end_in_every_way(telemetry: &dyn Telemetry) {
    for outcome in OUTCOMES {
        for attempts in 0..3 {
            let mut headers = HeaderMap::new();
            let Some(mut record) = arrive(telemetry, &headers) else { continue };
            for number in 0..attempts {
                if number > 0 {
                    record.attempt_failed("refused");
                }
                try_backend(&mut *record, number, &mut headers);
            }
            if attempts > 0 {
                record.first_byte();
            }
            record.finish(&finished(outcome));
        }
    }
}

/// Of the headers of an attempt only those of the trace may change.
fn an_attempt_touches_no_header_but_those_of_the_trace(telemetry: &dyn Telemetry) {
    let mut headers = HeaderMap::new();
    for (name, value) in [("authorization", "Bearer x"), ("x-mine", "1"), ("content-type", "application/json")] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let before = headers.clone();
    let Some(mut record) = arrive(telemetry, &headers) else { return };
    try_backend(&mut *record, 1, &mut headers);
    for trace in ["traceparent", "tracestate", "baggage"] {
        headers.remove(trace);
    }
    assert_eq!(headers, before);
    record.finish(&finished(Outcome::Complete));
}

/// The ids for log lines are lower-case hexadecimal, of 32 and 16 digits, and stay the same.
fn the_ids_for_log_lines_are_hexadecimal(telemetry: &dyn Telemetry) {
    let Some(record) = arrive(telemetry, &HeaderMap::new()) else { return };
    if let Some((trace, span)) = record.trace_ids() {
        let hexadecimal = |id: &str| id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        assert!(trace.len() == 32 && span.len() == 16 && hexadecimal(&trace) && hexadecimal(&span), "{trace} {span}");
        assert_eq!(record.trace_ids(), Some((trace, span)));
    }
    record.finish(&finished(Outcome::Complete));
}

/// Reports come from every thread, more of them than any queue holds, and none waits: the collector is away here.
fn no_report_waits_for_anybody(telemetry: &Arc<dyn Telemetry>) {
    let reporters: Vec<_> = (0..4)
        .map(|number| {
            let telemetry = Arc::clone(telemetry);
            std::thread::Builder::new()
                .spawn(move || {
                    for request in 0..MANY / 4 {
                        if let Some(mut record) = arrive(&*telemetry, &HeaderMap::new()) {
                            try_backend(&mut *record, number, &mut HeaderMap::new());
                            record.finish(&finished(Outcome::Complete));
                        }
                        telemetry.table_changed(&change(ACTIONS[usize::try_from(request).unwrap() % ACTIONS.len()]));
                        telemetry.backends_active(usize::try_from(request).unwrap());
                    }
                })
                .unwrap()
        })
        .collect();
    reporters.into_iter().for_each(|reporter| reporter.join().unwrap());
}

macro_rules! telemetry_contract {
    ($name:ident, $make:expr) => {
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn a_request_may_end_in_every_way() {
                super::a_request_may_end_in_every_way(&*$make.0);
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn an_attempt_touches_no_header_but_those_of_the_trace() {
                super::an_attempt_touches_no_header_but_those_of_the_trace(&*$make.0);
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn the_ids_for_log_lines_are_hexadecimal() {
                super::the_ids_for_log_lines_are_hexadecimal(&*$make.0);
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn no_report_waits_for_anybody() {
                let made = $make;
                super::no_report_waits_for_anybody(&made.0);
            }
        }
    };
}

telemetry_contract!(off, (Arc::new(NoTelemetry) as Arc<dyn Telemetry>, ()));
telemetry_contract!(fake, (Arc::new(FakeTelemetry::default()) as Arc<dyn Telemetry>, ()));
#[cfg(feature = "otel")]
telemetry_contract!(opentelemetry, otel());

/// Towards a collector that is not there.
#[cfg(feature = "otel")]
fn otel() -> (Arc<dyn Telemetry>, lw_inference_proxy::adapters::otel::Flush) {
    use lw_inference_proxy::adapters::otel::{OtelSettings, start};
    let settings =
        OtelSettings::read(|name| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| "http://127.0.0.1:9".to_owned()));
    start(settings.unwrap().as_ref()).unwrap()
}

#[test]
fn off_records_nothing() {
    assert!(arrive(&NoTelemetry, &HeaderMap::new()).is_none());
}

#[test]
fn the_fake_keeps_what_it_was_told_in_order() {
    let fake = FakeTelemetry::default();
    let mut record = arrive(&fake, &HeaderMap::new()).unwrap();
    try_backend(&mut *record, 7, &mut HeaderMap::new());
    record.first_byte();
    record.finish(&finished(Outcome::Complete));
    fake.backends_active(1);
    let told = [
        Report::Attempt { container: "llm".into(), registration: 7 },
        Report::FirstByte,
        Report::Finished(finished(Outcome::Complete)),
        Report::Active(1),
    ];
    assert_eq!(fake.reports(), told);
}
