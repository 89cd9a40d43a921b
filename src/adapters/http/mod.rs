//! The proxy's own HTTP side: accepts connections, names the model of each request, and hands it to the use case.

mod body;
mod closing;
mod conn_state;
mod connection;
mod decode;
mod ending;
mod error;
mod forward;
mod framing;
mod guarded_io;
mod held;
mod held_body;
mod listener;
mod models;
mod name_model;
mod noted;
mod request_body;
mod request_id;
mod routes;
mod server;
mod status_json;
mod status_page;
mod tunnel;

pub use listener::{Bound, ListenError};
pub use server::{HttpSettings, Server};
