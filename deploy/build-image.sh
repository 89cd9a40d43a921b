#!/usr/bin/env bash
# Builds the proxy's image: build-image.sh IMAGE BUILDER [ARGUMENTS OF docker build]
# With the builder image at hand (or to be pulled) all is done inside, as the Dockerfile says. Where it is not to be
# had, or BUILDER is `outside`, the binary is compiled with this machine's own Rust and the Dockerfile's last stage
# packs it. LW_IMAGE_PROFILE=dev does that faster, for tests.
set -euo pipefail
cd "$(dirname "$0")/.."

image=${1:-lw-inference-proxy:latest}
builder=${2:-rust:1.95-slim-trixie}
more=("${@:3}")

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
describe=(--build-arg "VERSION=$version" --build-arg "REVISION=$revision" "${more[@]}")

at_hand() {
    [ "$builder" != outside ] || return 1
    docker image inspect "$builder" >/dev/null 2>&1 || docker pull --quiet "$builder" 2>/dev/null
}

if at_hand; then
    echo "compiling in $builder; this takes some minutes"
    docker build --tag "$image" --build-arg "BUILDER=$builder" "${describe[@]}" .
else
    [ "$builder" = outside ] || echo "$builder is not here and cannot be pulled: compiling outside of Docker instead"
    command -v cargo >/dev/null || { echo "there is no cargo here either; install Rust (rustup.rs)" >&2; exit 1; }
    echo "compiling with $(rustc --version); the first time takes some minutes"
    context=target/image-${LW_IMAGE_PROFILE:-dist}
    deploy/build-static.sh "$context/out"
    sed -n '/^FROM scratch/,$p' Dockerfile | sed 's/--from=build //; s,COPY /out/,COPY out/,' >"$context/Dockerfile"
    docker build --tag "$image" "${describe[@]}" "$context"
fi
docker image inspect --format "built $image for {{.Os}}/{{.Architecture}}, {{.Size}} bytes" "$image"
