//! Whose containers these are: a label per test process, and the sweep of what dead ones left behind.

use bollard::Docker;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder,
};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The label that every container, network and image of a test carries. Nothing without it is ever touched.
pub const LABEL: &str = "lw-inference-proxy.test";

/// What another process left behind is removed after this time, even if a process with its id lives.
const OLD_MS: u64 = 60 * 60 * 1000;

static RUN: LazyLock<String> = LazyLock::new(|| format!("{}-{}-{}", machine(), std::process::id(), now_ms()));

/// The value of [`LABEL`] for this process: `<machine>-<process id>-<start, Unix ms>`.
pub fn run_id() -> &'static str {
    &RUN
}

/// `name-<process id>-<counter>`: no other test, here or beside, has it.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{name}-{}-{number}", std::process::id())
}

/// The labels that make something ours.
pub fn labels() -> HashMap<String, String> {
    HashMap::from([(LABEL.to_owned(), run_id().to_owned())])
}

/// Removes containers and networks of test processes that are gone. Failures are left to the next sweep.
pub async fn sweep(docker: &Docker) {
    let ours = HashMap::from([("label", vec![LABEL])]);
    let list = ListContainersOptionsBuilder::new().all(true).filters(&ours).build();
    for container in docker.list_containers(Some(list)).await.unwrap_or_default() {
        if let (Some(id), true) = (container.id, is_left_over(container.labels.as_ref())) {
            let force = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
            let _ = docker.remove_container(&id, Some(force)).await;
        }
    }
    let list = ListNetworksOptionsBuilder::new().filters(&ours).build();
    for network in docker.list_networks(Some(list)).await.unwrap_or_default() {
        if let (Some(id), true) = (network.id, is_left_over(network.labels.as_ref())) {
            let _ = docker.remove_network(&id).await;
        }
    }
}

/// Whether the label names a process that is dead or too old. A value of another form is not ours to judge.
fn is_left_over(labels: Option<&HashMap<String, String>>) -> bool {
    let Some(value) = labels.and_then(|labels| labels.get(LABEL)) else {
        return false;
    };
    let parts: Vec<&str> = value.split('-').collect();
    let [from, pid, started] = parts.as_slice() else {
        return false;
    };
    let Ok(started) = started.parse::<u64>() else {
        return false;
    };
    let dead = *from == machine() && !Path::new("/proc").join(pid).exists();
    dead || now_ms().saturating_sub(started) > OLD_MS
}

/// Tells process ids of this boot and process namespace from all others.
fn machine() -> String {
    let mut hash = DefaultHasher::new();
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().hash(&mut hash);
    std::fs::read_link("/proc/self/ns/pid").ok().hash(&mut hash);
    format!("{:08x}", hash.finish() as u32)
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::{LABEL, is_left_over, machine, now_ms, run_id};
    use std::collections::HashMap;

    fn labelled(value: &str) -> bool {
        is_left_over(Some(&HashMap::from([(LABEL.to_owned(), value.to_owned())])))
    }

    #[test]
    fn only_what_the_dead_and_the_old_left_is_swept() {
        let (here, now) = (machine(), now_ms());
        assert!(!labelled(run_id()), "this process");
        assert!(labelled(&format!("{here}-4194305-{now}")), "a dead process");
        assert!(!labelled(&format!("other-4194305-{now}")), "another machine's");
        assert!(labelled("other-1-1000"), "an old one");
        assert!(!labelled("image"), "no test process at all");
        assert!(!is_left_over(Some(&HashMap::new())), "without the label");
    }
}
