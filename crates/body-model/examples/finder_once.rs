//! Runs the model finder over one body, so that an instruction counter can watch:
//!
//! ```text
//! cargo build --release --example finder_once
//! valgrind --tool=callgrind --toggle-collect='finder_once::feed' target/release/examples/finder_once chat 1048576
//! ```
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../benches/finder/bodies.rs"]
mod bodies;

use body_model::ModelFinder;

fn main() {
    let mut args = std::env::args().skip(1);
    let kind = args.next().unwrap_or_else(|| "chat".to_owned());
    let size = args.next().map_or(1 << 20, |size| size.parse().unwrap());
    let body = bodies::body(&kind, size);
    let mut finder = match kind.as_str() {
        "form" => ModelFinder::multipart(bodies::BOUNDARY).unwrap(),
        _ => ModelFinder::json(),
    };
    for chunk in body.chunks(16 * 1024) {
        feed(&mut finder, chunk);
    }
    finder.finish().unwrap();
    println!("{kind}: {} bytes, model {:?}", body.len(), finder.model().unwrap());
}

/// Feeds one chunk, as a function of its own that the counter can toggle at.
#[inline(never)]
fn feed(finder: &mut ModelFinder, chunk: &[u8]) {
    finder.feed(chunk).unwrap();
}
