//! What must hold for every input: the fuzzers call these, and so does the test that replays the seeds.

mod compressed_body;
mod engine_event;
mod finder;
mod labels;
mod request_target;

pub use compressed_body::compressed_body;
pub use engine_event::engine_event;
pub use finder::{model_finder_json, model_finder_multipart, model_name};
pub use labels::labels;
pub use request_target::request_target;
