//! The speed of the model finder over prompts before the model.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod bodies;

use body_model::ModelFinder;
use divan::counter::BytesCount;

/// The size of the chunks of the server.
const CHUNK: usize = 16 * 1024;

fn main() {
    divan::main();
}

#[divan::bench(args = bodies::KINDS)]
fn one_mebibyte(bencher: divan::Bencher<'_, '_>, kind: &str) {
    measure(bencher, kind, 1 << 20);
}

#[divan::bench(args = ["chat", "form"])]
fn one_kibibyte(bencher: divan::Bencher<'_, '_>, kind: &str) {
    measure(bencher, kind, 1 << 10);
}

fn measure(bencher: divan::Bencher<'_, '_>, kind: &str, size: usize) {
    let body = bodies::body(kind, size);
    bencher.counter(BytesCount::new(body.len())).bench(|| {
        let mut finder = match kind {
            "form" => ModelFinder::multipart(bodies::BOUNDARY).unwrap(),
            _ => ModelFinder::json(),
        };
        for chunk in divan::black_box(&body).chunks(CHUNK) {
            finder.feed(chunk).unwrap();
        }
        finder.finish().unwrap();
        finder.model().cloned()
    });
}
