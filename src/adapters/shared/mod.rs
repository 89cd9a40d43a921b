//! What several adapters use, and no adapter owns.

pub(crate) mod conn_waker;
pub mod own_container;
pub(crate) mod printable;
pub(crate) mod tls;
pub(crate) mod watches;
