//! Mocks of the ports.
#![allow(missing_docs, reason = "mockall writes the methods")]

use std::sync::Arc;

use async_trait::async_trait;
use domain::container::ContainerId;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use mockall::mock;
use ports::container_source::{ContainerEvents, ContainerSource};
use ports::telemetry::{Attempt, RequestFinished, RequestRecord, RequestStart, TableChange, Telemetry};
use ports::upstream::{
    Channel, ListModelsError, ListedModel, RequestSlot, SendError, Target, UpstreamClient, UpstreamResponse,
};

/// The outcome of [`MockChannel::sent`], which may stay pending.
pub type SendFuture = BoxFuture<'static, Result<UpstreamResponse, SendError>>;

mock! {
    /// A source of containers.
    pub ContainerSource {}

    impl ContainerSource for ContainerSource {
        fn name(&self) -> &str;
        fn watch(&self) -> ContainerEvents;
        fn refresh(&self, id: &ContainerId);
    }
}

mock! {
    /// A client of backends.
    pub UpstreamClient {}

    #[async_trait]
    impl UpstreamClient for UpstreamClient {
        async fn models(&self, target: &Target) -> Result<Vec<ListedModel>, ListModelsError>;
        fn open(&self, target: &Target) -> Arc<dyn Channel>;
    }
}

mock! {
    /// The connections to one registration. [`Channel::send`] awaits what `sent` returns: a mocked `async fn` could only
    /// return at once.
    pub Channel {
        pub fn sent(&self, request: &RequestSlot) -> SendFuture;
        pub fn retired(&self);
    }
}

#[async_trait]
impl Channel for MockChannel {
    async fn send(&self, request: &RequestSlot) -> Result<UpstreamResponse, SendError> {
        self.sent(request).await
    }

    fn retire(&self) {
        self.retired();
    }
}

mock! {
    /// A receiver of reports.
    pub Telemetry {}

    impl Telemetry for Telemetry {
        fn request<'a>(&self, arrival: &RequestStart<'a>) -> Option<Box<dyn RequestRecord>>;
        fn table_changed(&self, change: &TableChange);
        fn backends_active(&self, count: usize);
    }
}

mock! {
    /// The record of one request.
    pub RequestRecord {}

    impl RequestRecord for RequestRecord {
        fn attempt<'a>(&mut self, attempt: &Attempt<'a>, headers: &mut HeaderMap);
        fn attempt_failed(&mut self, reason: &str);
        fn first_byte(&mut self);
        fn finish(self: Box<Self>, finished: &RequestFinished);
        fn trace_ids(&self) -> Option<(String, String)>;
    }
}
