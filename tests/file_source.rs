//! The example of a runtime of one's own keeps the contract of the port.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "contracts/container_source.rs"]
mod contract;
#[allow(dead_code)]
#[path = "../examples/file_source.rs"]
mod file_source;
#[path = "support/heard.rs"]
mod heard;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use contract::Stage;
use domain::container::ContainerId;
use file_source::FileSource;
use ports::container_source::ContainerSource;
use serde_json::json;

container_source_contract!(lines_of_a_file, crate::Lines, shows [bad_labels removals absence losses], lacks [
    signals: "not applicable: a file tells no signals",
    ends: "not applicable: a file tells no ends",
    pauses: "not applicable: a file tells no pauses",
    order: "not applicable: a file tells neither signals, pauses nor ends",
]);

fn not_run(clause: &str, why: &str) {
    panic!("{clause} not run: {why}");
}

/// A file of one's own, removed at the end.
struct Lines {
    path: PathBuf,
    lines: BTreeMap<ContainerId, String>,
}

impl Lines {
    fn absent() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("lw-lines-{}-{}.jsonl", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self { path: std::env::temp_dir().join(name), lines: BTreeMap::new() }
    }

    /// Writes beside and renames, so that nobody reads half a file.
    fn write(&self) {
        let beside = self.path.with_extension("new");
        std::fs::write(&beside, self.lines.values().cloned().collect::<String>()).unwrap();
        std::fs::rename(beside, &self.path).unwrap();
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Stage for Lines {
    async fn set_up() -> Result<Self, String> {
        let stage = Self::absent();
        stage.write();
        Ok(stage)
    }

    async fn set_up_absent() -> Self {
        Self::absent()
    }

    fn source(&self) -> Arc<dyn ContainerSource> {
        Arc::new(FileSource::new(&self.path))
    }

    async fn run(&mut self, name: &str, labels: &[(&str, &str)]) -> ContainerId {
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        let line = json!({"name": name, "ip": "127.0.0.1", "started": 1, "healthy": true, "labels": labels});
        let id = ContainerId::new(name);
        self.lines.insert(id.clone(), format!("{line}\n"));
        if self.path.exists() {
            self.write();
        }
        id
    }

    async fn remove(&mut self, id: &ContainerId) {
        self.lines.remove(id);
        self.write();
    }

    async fn lose(&mut self) {
        std::fs::remove_file(&self.path).unwrap();
    }

    async fn find(&mut self) {
        self.write();
    }

    /// All of a watch lives in its stream.
    async fn nothing_runs(&mut self) {}
}
