//! The decisions of the proxy as pure values: no clock, no lock, no task, no input or output.

pub mod atomic;
pub mod backend;
pub mod backend_url;
pub mod balance;
pub mod container;
pub mod drain;
pub mod gate;
pub mod labels;
pub mod model_name;
pub mod pool;
pub mod signal;
pub mod table;
