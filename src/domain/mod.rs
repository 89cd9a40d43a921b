//! What the proxy decides, as pure values: no clock, no lock, no task, no input or output.

pub mod container;
pub mod labels;
pub mod model_name;
pub mod signal;
