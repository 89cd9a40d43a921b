//! Container discovery.

use std::pin::Pin;

use domain::container::{ContainerEvent, ContainerId};
use futures_core::Stream;

/// The events of a source. The stream never ends by itself, and stops its work when it is dropped.
pub type ContainerEvents = Pin<Box<dyn Stream<Item = ContainerEvent> + Send>>;

/// A source of containers, such as a Docker engine.
///
/// It reports only containers that opted in (`inference.enable=true`); lifecycle events may be about others, too.
///
/// # Example
///
/// A source of containers that never change:
///
/// ```
/// use domain::container::{Container, ContainerEvent, ContainerId};
/// use futures_util::{StreamExt, stream};
/// use lw_inference_proxy_ports::container_source::{ContainerEvents, ContainerSource};
/// use tokio::sync::broadcast;
///
/// struct Unchanging {
///     containers: Vec<Container>,
///     refreshes: broadcast::Sender<ContainerId>,
/// }
///
/// impl ContainerSource for Unchanging {
///     fn name(&self) -> &str {
///         "unchanging"
///     }
///
///     fn watch(&self) -> ContainerEvents {
///         let (containers, refreshes) = (self.containers.clone(), self.refreshes.subscribe());
///         let snapshot = ContainerEvent::Snapshot(containers.clone().into());
///         let requests = stream::unfold(refreshes, |mut refreshes| async {
///             Some((refreshes.recv().await, refreshes))
///         });
///         let inspections = requests.filter_map(move |request| {
///             let found = request.ok().and_then(|id| containers.iter().find(|one| one.id == id).cloned());
///             async { found.map(ContainerEvent::Inspected) }
///         });
///         stream::iter([snapshot]).chain(inspections).chain(stream::pending()).boxed()
///     }
///
///     fn refresh(&self, id: &ContainerId) {
///         let _ = self.refreshes.send(id.clone());
///     }
/// }
/// ```
pub trait ContainerSource: Send + Sync {
    /// Returns the name of this source in log lines, such as `docker` and its address.
    fn name(&self) -> &str;

    /// Starts to watch.
    ///
    /// - The first event is a `Snapshot`, even if there is no container. Before the source has synced there is no event
    ///   but `Disconnected`, once per reason.
    /// - Deltas follow. No change after the snapshot is lost; one may be reported twice.
    /// - A `Lifecycle` event is reported as soon as it is known, without a request to the engine.
    /// - An `Inspected` shows a container as it was after all of its lifecycle events that were reported before.
    /// - When the source is disconnected there is one `Disconnected`, and as soon as it is back, a `Snapshot`. In
    ///   between there are at most lifecycle events of known containers. A disconnected source never reports an empty
    ///   snapshot in place of one that it could not take.
    /// - A container that cannot be inspected delays nothing: it is reported as such, in the snapshot or in an
    ///   `InspectionFailed`, once per reason, and its inspection is retried. Its last inspection still holds.
    /// - The stream never ends, and dropping it stops everything that was started for it.
    fn watch(&self) -> ContainerEvents;

    /// Requests a fresh inspection of one container. The result comes in the stream: an `Inspected`, or a `Removed`.
    ///
    /// Returns at once. Requests for the same container are merged, and one for an unknown container does no harm.
    fn refresh(&self, id: &ContainerId);
}
