//! Where containers are discovered from.

use std::pin::Pin;

use domain::container::{ContainerEvent, ContainerId};
use futures_core::Stream;

/// What [`ContainerSource::watch`] gives: it never ends by itself, and ends its work when it is dropped.
pub type ContainerEvents = Pin<Box<dyn Stream<Item = ContainerEvent> + Send>>;

/// A source of containers, such as a Docker engine.
///
/// It reports only containers that opted in (`inference.enable=true`); edges may also name others.
pub trait ContainerSource: Send + Sync {
    /// What log lines call this source, such as `docker` and its address.
    fn name(&self) -> &str;

    /// Starts to watch.
    ///
    /// - The first item is a `Snapshot`, also where there is no container at all. Until the source was seen there is
    ///   no item but `Lost`, once per reason.
    /// - Deltas follow. Nothing that happens after the snapshot was taken is lost; something may be told twice.
    /// - An edge is told as soon as it is known, without asking the engine anything.
    /// - An `Observed` shows a container as it was after every edge of it that was told before.
    /// - When the source is lost there is one `Lost`; then, as soon as it is back, a `Snapshot` again, and until then at
    ///   most edges of what is known. A source that is lost never tells an empty snapshot in place of one that it could
    ///   not take.
    /// - A container that cannot be inspected delays nothing: it is named as such, in the snapshot or by itself, once per
    ///   reason, and is inspected again until that succeeds. What was told of it before still holds.
    /// - The stream never ends, and dropping it ends everything that was started for it.
    fn watch(&self) -> ContainerEvents;

    /// Asks for a fresh look at one container. The answer comes in the stream: an `Observed`, or an edge `Removed`.
    ///
    /// Returns at once; requests for the same container are merged, and one for an unknown container does no harm.
    fn refresh(&self, id: &ContainerId);
}
