//! The image of the mock, built on the spot without any registry, anew only when its sources change.

use crate::run::LABEL;
use crate::tools::{repository, script, static_mock};
use bollard::Docker;
use bollard::query_parameters::BuildImageOptionsBuilder;
use futures_util::StreamExt;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

/// The mock's image; see `tests/README.md` for its environment.
pub const MOCK_IMAGE: &str = "lw-mock:test";

/// llama.cpp's server with a tiny model, made by `tests/llama/build-image.sh`.
pub const LLAMA_IMAGE: &str = "lw-llama:test";

/// The proxy's own image, of today's sources, compiled fast.
pub const PROXY_IMAGE: &str = "lw-inference-proxy:test";

/// The image label that holds the hash of the sources.
const SOURCES: &str = "lw-inference-proxy.test.sources";

const DOCKERFILE: &str = r#"FROM scratch
COPY mock /mock
ENV PORT=8000
EXPOSE 8000
HEALTHCHECK --interval=500ms --timeout=2s --retries=2 CMD ["/mock","healthcheck"]
ENTRYPOINT ["/mock"]
"#;

/// Makes sure that [`MOCK_IMAGE`] is there and made of today's sources.
pub async fn ensure_mock_image(docker: &Docker) {
    let hash = sources_hash();
    if is_current(docker, &hash).await {
        return;
    }
    let _alone = lock();
    if is_current(docker, &hash).await {
        return;
    }
    build(docker, &hash).await;
}

/// Makes [`PROXY_IMAGE`] as `make docker` makes the real one, but for the profile. `tests/run.sh` has
/// done that before: without changes it takes a second.
pub fn build_proxy_image() {
    let _alone = lock();
    let label = format!("{LABEL}=image");
    let arguments = [PROXY_IMAGE, "outside", "--label", &label];
    script("deploy/build-image.sh", &arguments, &[("LW_IMAGE_PROFILE", "dev")]);
}

async fn is_current(docker: &Docker, hash: &str) -> bool {
    let Ok(image) = docker.inspect_image(MOCK_IMAGE).await else {
        return false;
    };
    let labels = image.config.and_then(|config| config.labels).unwrap_or_default();
    labels.get(SOURCES).is_some_and(|value| value == hash)
}

async fn build(docker: &Docker, hash: &str) {
    let labels = [(LABEL, "image"), (SOURCES, hash)].into_iter().collect();
    let options = BuildImageOptionsBuilder::new().t(MOCK_IMAGE).labels(&labels).rm(true).build();
    let body = bollard::body_full(build_folder().into());
    let mut steps = std::pin::pin!(docker.build_image(options, None, Some(body)));
    while let Some(step) = steps.next().await {
        let step = step.unwrap_or_else(|why| panic!("building {MOCK_IMAGE}: {why}"));
        if let Some(why) = step.error_detail {
            panic!("building {MOCK_IMAGE}: {why:?}");
        }
    }
}

/// What the engine builds from, as a tar archive.
fn build_folder() -> Vec<u8> {
    let mock = fs::read(static_mock()).expect("the mock was built");
    let mut tar = tar::Builder::new(Vec::new());
    for (name, mode, bytes) in [("Dockerfile", 0o644, DOCKERFILE.as_bytes()), ("mock", 0o755, &mock)] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes).expect("written to memory");
    }
    tar.into_inner().expect("written to memory")
}

fn sources_hash() -> String {
    let mut hash = DefaultHasher::new();
    DOCKERFILE.hash(&mut hash);
    std::env::consts::ARCH.hash(&mut hash);
    hash_folder(&repository().join("tests/mock"), &mut hash);
    format!("{:016x}", hash.finish())
}

fn hash_folder(folder: &Path, hash: &mut DefaultHasher) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .unwrap_or_else(|why| panic!("{}: {why}", folder.display()))
        .map(|entry| entry.expect("a folder can be read").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            hash_folder(&path, hash);
        } else {
            path.file_name().hash(hash);
            fs::read(&path).expect("a source can be read").hash(hash);
        }
    }
}

/// Buffer while building, so that tests that start side by side build once. Released when dropped.
fn lock() -> File {
    let folder = repository().join("target");
    fs::create_dir_all(&folder).expect("target can be made");
    let file = File::create(folder.join("engine-tests.lock")).expect("the lock file can be made");
    file.lock().expect("the lock can be taken");
    file
}
