//! What this test logs. There is one subscriber for the whole process, set before anything is logged: `tracing` caches
//! whether anybody listens, so that one for each thread would miss what another thread logged first.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// The fields of one event, with `message` among them.
pub type Line = BTreeMap<&'static str, String>;

thread_local! {
    /// Each test has a thread of its own, and all its tasks run there.
    static LINES: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// Listens from here on, for the whole process. What this thread logged before is forgotten.
pub fn listen() {
    static SET: Once = Once::new();
    SET.call_once(|| tracing::subscriber::set_global_default(PerThread).unwrap());
    LINES.with_borrow_mut(Vec::clear);
}

/// The events of this test whose field contains this text.
pub fn with(field: &str, text: &str) -> Vec<Line> {
    let matches = |line: &&Line| line.get(field).is_some_and(|value| value.contains(text));
    LINES.with_borrow(|lines| lines.iter().filter(matches).cloned().collect())
}

struct PerThread;

impl Subscriber for PerThread {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(Line::new());
        event.record(&mut fields);
        LINES.with_borrow_mut(|lines| lines.push(fields.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Fields(Line);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}
