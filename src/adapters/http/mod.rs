//! The proxy's own HTTP side: accepts connections, names the model of each request, and hands it to the use case.
//!
//! The modules that are public and not documented are so for the fuzzers.

mod body;
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
#[doc(hidden)]
pub mod held;
#[doc(hidden)]
pub mod held_body;
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
