//! What the proxy decides, as pure values: no clock, no lock, no task, no input or output.

pub mod finder;
pub mod model_name;
