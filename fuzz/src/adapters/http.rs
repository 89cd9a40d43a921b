//! A request's head and its body.

#[path = "../../../src/adapters/http/decode/mod.rs"]
pub mod decode;
#[path = "../../../src/adapters/http/framing.rs"]
pub mod framing;
#[path = "../../../src/adapters/http/held.rs"]
pub mod held;
#[path = "../../../src/adapters/http/held_body.rs"]
pub mod held_body;
#[path = "../../../src/adapters/http/noted.rs"]
pub mod noted;
#[path = "../../../src/adapters/http/request_body.rs"]
pub mod request_body;

pub mod error {
    //! The errors that are answered.

    use http::StatusCode;

    /// The code of a body that is larger than may be held.
    pub const BODY_TOO_LARGE: &str = "body_too_large";

    /// The code of what has no room among everything that is held.
    pub const OVERLOADED: &str = "overloaded";

    /// An error that the proxy answers by itself, without its wording.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ErrorAnswer {
        /// The status.
        pub status: StatusCode,
        /// OpenAI's `code`.
        pub code: &'static str,
        /// What happened.
        pub message: String,
        /// Whether the connection ends with it.
        pub close: bool,
    }

    impl ErrorAnswer {
        /// An error without anything special.
        pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
            Self { status, code, message: message.into(), close: false }
        }

        /// All bodies together are larger than may be held.
        pub fn overloaded() -> Self {
            Self::new(StatusCode::SERVICE_UNAVAILABLE, OVERLOADED, "too much is held")
        }

        /// A request that breaks the protocol.
        pub fn malformed(message: impl Into<String>) -> Self {
            Self { close: true, ..Self::new(StatusCode::BAD_REQUEST, "invalid_request", message) }
        }
    }
}
