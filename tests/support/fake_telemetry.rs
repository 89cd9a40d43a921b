//! A receiver of reports that keeps them, for tests of what is reported.
#![allow(dead_code)]

use std::sync::{Arc, Mutex};

use http::HeaderMap;
use ports::telemetry::{Attempt, RequestFinished, RequestRecord, RequestStart, TableChange, Telemetry};

/// What was reported, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    Attempt { container: String, registration: u64 },
    AttemptFailed(String),
    FirstByte,
    Finished(RequestFinished),
    Table(TableChange),
    Active(usize),
}

/// Keeps every report. Clones keep them together.
#[derive(Debug, Clone, Default)]
pub struct FakeTelemetry(Arc<Mutex<Vec<Report>>>);

impl FakeTelemetry {
    pub fn reports(&self) -> Vec<Report> {
        self.0.lock().unwrap().clone()
    }

    fn keep(&self, report: Report) {
        self.0.lock().unwrap().push(report);
    }
}

impl Telemetry for FakeTelemetry {
    fn request(&self, _: &RequestStart<'_>) -> Option<Box<dyn RequestRecord>> {
        Some(Box::new(FakeRecord(self.clone())))
    }

    fn table_changed(&self, change: &TableChange) {
        self.keep(Report::Table(change.clone()));
    }

    fn backends_active(&self, count: usize) {
        self.keep(Report::Active(count));
    }
}

struct FakeRecord(FakeTelemetry);

impl RequestRecord for FakeRecord {
    fn attempt(&mut self, attempt: &Attempt<'_>, _: &mut HeaderMap) {
        self.0.keep(Report::Attempt { container: attempt.container.into(), registration: attempt.registration });
    }

    fn attempt_failed(&mut self, reason: &str) {
        self.0.keep(Report::AttemptFailed(reason.into()));
    }

    fn first_byte(&mut self) {
        self.0.keep(Report::FirstByte);
    }

    fn finish(self: Box<Self>, finished: &RequestFinished) {
        self.0.keep(Report::Finished(finished.clone()));
    }

    fn trace_ids(&self) -> Option<(String, String)> {
        None
    }
}
