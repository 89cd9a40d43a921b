//! Tells people and telemetry of every change of the table: one line for each, saying what and why.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::drain::Drain;
use domain::model_name::ModelName;
use domain::table::{Transition, Warning};
use ports::container_source::ContainerSource;
use ports::telemetry::{TableAction, TableChange, Telemetry};
use tracing::{info, warn};

use super::Backend;
use super::link::Link;

/// The most models that one line names.
const MODELS_NAMED: usize = 16;

/// Writes the journal.
pub struct TransitionLog {
    telemetry: Arc<dyn Telemetry>,
}

impl TransitionLog {
    /// A journal that also reports to telemetry.
    pub fn new(telemetry: Arc<dyn Telemetry>) -> Self {
        Self { telemetry }
    }

    /// How many backends are in service.
    pub fn active(&self, count: usize) {
        self.telemetry.backends_active(count);
    }

    /// A drain deadline cut this many requests.
    pub fn cut(&self, backend: &Backend, requests: usize) {
        warn!(container = %backend.name, id = %backend.container, address = %backend.address, requests,
            "the drain deadline has come: requests in flight are cut");
    }

    /// Notes what follows from an event.
    pub fn note(&self, transition: &Transition<Link>, sources: &[Arc<dyn ContainerSource>]) {
        match transition {
            Transition::Registered(backend, models) => {
                let models: Vec<_> = models.iter().map(|model| model.name.clone()).collect();
                let reason = "healthy, and it told its models";
                info!(container = %backend.name, id = %backend.container, address = %backend.address,
                    models = names(&models), reason, "backend registered");
                self.change(TableAction::Registered, backend, models, reason.to_owned());
            }
            Transition::ModelsChanged { backend, added, removed } => {
                let reason = format!("added: {}; removed: {}", names(added), names(removed));
                info!(container = %backend.name, id = %backend.container, address = %backend.address,
                    added = names(added), removed = names(removed), reason = "its list of models changed",
                    "models changed");
                let both = added.iter().chain(removed).cloned().collect();
                self.telemetry.table_changed(&TableChange {
                    removed: removed.to_vec(),
                    ..change(TableAction::ModelsChanged, backend, both, reason)
                });
            }
            Transition::ListsAgain { backend, after } => lists_again(backend, *after),
            Transition::LeftService { backend, models, reason, drain } => self.retired(backend, models, reason, *drain),
            Transition::Removed { backend, models, reason, after } => {
                let drained_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                match backend.link.broken() {
                    0 => info!(container = %backend.name, id = %backend.container, address = %backend.address,
                        models = names(models), %reason, drained_ms, "backend removed, nothing is in flight"),
                    broken => warn!(container = %backend.name, id = %backend.container, address = %backend.address,
                        models = names(models), %reason, drained_ms, broken,
                        "backend removed; requests to it were broken off"),
                }
                self.change(TableAction::Removed, backend, models.to_vec(), reason.to_string());
            }
            Transition::RunEnded { container, name, end, restarts, crashed } => {
                let (exit_code, out_of_memory) = (end.exit_code, end.out_of_memory);
                match crashed {
                    true => warn!(container = %name, id = %container, exit_code, out_of_memory, restarts,
                        reason = "it was not stopped", "container crashed"),
                    false => info!(container = %name, id = %container, exit_code, out_of_memory, restarts,
                        "container ended"),
                }
            }
            Transition::Warn { container, name, warning: Warning::OtherProject(reason) } => {
                info!(container = %name, id = %container, reason, "container left alone");
            }
            Transition::Warn { container, name, warning } => {
                warn!(container = %name, id = %container, reason = %warning, "container needs attention");
            }
            Transition::SourceDisconnected(source, reason) => {
                let source = sources.get(usize::from(source.0)).map_or("", |source| source.name());
                warn!(source, reason, "containers are out of sight; the table stays as it is, trying again");
            }
            Transition::SourceSynced(source, containers) => {
                let source = sources.get(usize::from(source.0)).map_or("", |source| source.name());
                // Whoever starts the proxy for the first time has none.
                let hint = (*containers == 0).then_some("label your inference servers inference.enable=true");
                info!(source, containers, hint, "containers listed");
            }
            // Told together, by `contested`.
            Transition::Collision { .. } | Transition::TookOver { .. } => {}
            Transition::Discover(_)
            | Transition::Resume(_)
            | Transition::RefreshModels(_)
            | Transition::Abandon(_)
            | Transition::RefreshContainer(..)
            | Transition::FailWaiting(_)
            | Transition::ForceClose(_) => {}
        }
    }

    /// Notes which models are claimed by several backends, and which went back to another one: one line for each pair
    /// of backends, however many models they share.
    pub fn contested(&self, transitions: &[Transition<Link>]) {
        let mut collisions: BTreeMap<_, (_, _, Vec<ModelName>)> = BTreeMap::new();
        let mut took_over: BTreeMap<_, (_, Vec<ModelName>)> = BTreeMap::new();
        for transition in transitions {
            match transition {
                Transition::Collision { model, winner, displaced } => {
                    let pair = (winner.registration, displaced.registration);
                    collisions.entry(pair).or_insert((winner, displaced, Vec::new())).2.push(model.clone());
                }
                Transition::TookOver { model, backend } => {
                    took_over.entry(backend.registration).or_insert((backend, Vec::new())).1.push(model.clone());
                }
                _ => {}
            }
        }
        for (winner, displaced, models) in collisions.into_values() {
            warn!(models = names(&models), count = models.len(), container = %winner.name, id = %winner.container,
                address = %winner.address, displaced = %displaced.name, displaced_id = %displaced.container,
                reason = "the last one to become healthy serves", "two containers serve the same models");
            let reason = format!("displaced {}", displaced.name);
            self.change(TableAction::Collision, winner, models, reason);
        }
        for (backend, models) in took_over.into_values() {
            info!(models = names(&models), count = models.len(), container = %backend.name, id = %backend.container,
                address = %backend.address,
                reason = "the container that had displaced it is out of service", "backend took models over");
        }
    }

    fn retired(&self, backend: &Backend, models: &[ModelName], reason: &domain::drain::LeaveReason, drain: Drain) {
        let in_flight = backend.gate.in_flight();
        let how = match drain {
            Drain::Within(timeout) => format!("requests in flight may finish within {} s", timeout.as_secs_f32()),
            Drain::Kept => "requests in flight are kept".to_owned(),
            Drain::WaitingFailed(_) => "requests in flight are lost with it".to_owned(),
        };
        info!(container = %backend.name, id = %backend.container, address = %backend.address,
            models = names(models), %reason, in_flight, how, "backend out of service");
        self.change(TableAction::Draining, backend, models.to_vec(), reason.to_string());
    }

    fn change(&self, action: TableAction, backend: &Backend, models: Vec<ModelName>, reason: String) {
        self.telemetry.table_changed(&change(action, backend, models, reason));
    }
}

fn lists_again(backend: &Backend, after: Duration) {
    info!(container = %backend.name, id = %backend.container, address = %backend.address,
        after_s = after.as_secs(), "models listed again");
}

fn change(action: TableAction, backend: &Backend, models: Vec<ModelName>, reason: String) -> TableChange {
    TableChange {
        action,
        container: backend.name.to_string(),
        scheme: backend.scheme(),
        address: backend.address,
        registration: backend.registration.0,
        models,
        removed: Vec::new(),
        reason,
    }
}

/// The names, as one text of bounded length.
fn names(models: &[ModelName]) -> String {
    let mut text = models.iter().take(MODELS_NAMED).map(ModelName::as_str).collect::<Vec<_>>().join(", ");
    if models.len() > MODELS_NAMED {
        text.push_str(&format!(" and {} more", models.len() - MODELS_NAMED));
    }
    text
}
