//! Why a request was not forwarded.

use domain::drain::LeaveReason;
use domain::model_name::ModelName;
use ports::upstream::BodyError;

/// Why a request was not forwarded.
#[derive(Debug)]
pub enum ProxyError {
    /// Nobody serves the model.
    Unknown {
        /// Some of what is served.
        names: Vec<ModelName>,
        /// How many more there are.
        more: usize,
        /// How many containers may still turn out to serve it.
        starting: usize,
        /// Whether a server lists it, and has more models than there is room for.
        left_out: bool,
    },
    /// Its backend is going.
    Draining,
    /// A container that has served it is not ready, or the proxy itself does not know yet.
    Unavailable,
    /// As many connections as can be are open to the backend.
    Busy,
    /// Every replica has as many requests as it may.
    AllBusy,
    /// The backend did not answer.
    Unreachable,
    /// What the backend sent is not a valid response: why.
    InvalidResponse(String),
    /// The drain deadline came before the answer; why the backend went, if that is still known.
    Cut(Option<LeaveReason>),
    /// The request's own body failed.
    RequestBody(BodyError),
    /// The target cannot be written as one.
    Target,
}
