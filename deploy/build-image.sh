#!/usr/bin/env bash
# Builds the proxy's image: build-image.sh IMAGE BUILDER
# With the builder image at hand (or to be pulled) all is done inside, as the Dockerfile says. Where it is not to be
# had, the binary is compiled outside with this machine's own Rust and the Dockerfile's last stage packs it.
set -euo pipefail
cd "$(dirname "$0")/.."

image=${1:-lw-inference-proxy:latest}
builder=${2:-rust:1-slim-trixie}

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
describe=(--build-arg "VERSION=$version" --build-arg "REVISION=$revision")

if docker image inspect "$builder" >/dev/null 2>&1 || docker pull --quiet "$builder" 2>/dev/null; then
    echo "compiling in $builder"
    docker build --tag "$image" --build-arg "BUILDER=$builder" "${describe[@]}" .
else
    echo "$builder is not to be had: compiling with $(rustc --version)"
    context=target/image
    deploy/build-static.sh "$context/out"
    sed -n '/^FROM scratch/,$p' Dockerfile | sed 's/--from=build //; s,COPY /out/,COPY out/,' >"$context/Dockerfile"
    docker build --tag "$image" "${describe[@]}" "$context"
fi
docker image inspect --format "built $image for {{.Os}}/{{.Architecture}}, {{.Size}} bytes" "$image"
