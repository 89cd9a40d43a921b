//! The engine's event stream.

#[path = "../../../src/adapters/docker/event.rs"]
pub mod event;
#[path = "../../../src/adapters/docker/reader.rs"]
pub mod reader;
#[path = "../../../src/adapters/docker/wire.rs"]
pub mod wire;

pub mod settings {
    //! What narrows the listing; no line of the stream depends on it.

    /// The label that a container must carry.
    pub struct LabelFilter {
        /// The label.
        pub key: String,
        /// Its value.
        pub value: String,
    }
}

pub mod engine {
    //! Why reading ends.

    /// Why a request to the engine failed.
    #[derive(Debug, PartialEq, Eq)]
    pub enum EngineError {
        /// The event stream ended.
        EventsEnded,
    }
}
