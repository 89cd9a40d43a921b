//! The proxy's own HTTP side: accepts connections, names the model of each request, and hands it to the use case.
//!
//! The modules that are public and not documented are so for the fuzzers.

mod body;
#[doc(hidden)]
pub mod buffer;
#[doc(hidden)]
pub mod buffered_body;
mod closing;
mod conn_state;
mod connection;
#[doc(hidden)]
pub mod decode;
mod ending;
mod error;
mod forward;
#[doc(hidden)]
pub mod framing;
mod guarded_io;
mod listener;
mod models;
mod name_model;
#[doc(hidden)]
pub mod noted;
mod request_body;
mod request_id;
mod routes;
mod server;
mod status_json;
mod status_page;
mod tunnel;

pub use listener::{Bound, ListenError};
pub use server::{HttpSettings, Server};
