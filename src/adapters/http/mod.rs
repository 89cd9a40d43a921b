//! The proxy's own HTTP side: accepts connections, names the model of each request, and hands it to the use case.
//!
//! The modules that are public and not documented are so for the fuzzers.

mod body;
#[doc(hidden)]
pub mod buffer;
#[doc(hidden)]
pub mod buffered_body;
mod closing;
mod conn_io;
mod conn_state;
mod connection;
#[doc(hidden)]
pub mod decode;
mod error;
mod extract_model;
mod grace_period;
#[doc(hidden)]
pub mod header_set;
mod headers;
mod listener;
mod local;
mod models;
mod request_body;
mod request_id;
mod server;
mod status_page;
mod tunnel;
#[doc(hidden)]
pub mod validate;

pub use listener::{Bound, ListenError};
pub use server::{HttpSettings, Server};
