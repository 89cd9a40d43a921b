#!/usr/bin/env bash
# Runs every test. What cannot be run on this machine is said in plain words at the end; with CI=true it is a failure.
# Arguments go to cargo nextest (or cargo test).
set -euo pipefail
cd "$(dirname "$0")/.."

missing=target/not-run.txt
mkdir -p target
: >"$missing"

step() { printf '\n== %s\n' "$*"; }

# What some tests need and others do not.
prepare() {
    local what=$1
    shift
    step "$what"
    "$@" && return
    [ "${CI:-}" != true ] || { echo "$what: failed, and with CI=true that is a failure" >&2; exit 1; }
    echo "$what: not to be had here; the tests that need it are not run" | tee -a "$missing"
}

step "the proxy"
cargo build --locked --bin lw-inference-proxy
export LW_PROXY_BIN=${LW_PROXY_BIN:-${CARGO_TARGET_DIR:-target}/debug/lw-inference-proxy}
export LW_NOT_RUN=$PWD/$missing

if docker version >/dev/null 2>&1; then
    step "the proxy's image, compiled fast"
    LW_IMAGE_PROFILE=dev deploy/build-image.sh lw-inference-proxy:test outside --label lw-inference-proxy.test=image
    # What this one replaced.
    docker image prune --force --filter label=lw-inference-proxy.test=image >/dev/null
fi
prepare "the Python clients" tests/clients/make-venv.sh
prepare "faketime, for a wall clock that jumps" tests/process/get-faketime.sh
prepare "the image of llama.cpp" tests/llama/build-image.sh
prepare "nginx" tests/support/get-nginx.sh

step "the compose files"
tests/compose/check.sh || {
    [ $? = 3 ] && [ "${CI:-}" != true ] || exit 1
    echo "the compose files: not checked, docker compose is missing" | tee -a "$missing"
}

step "the tests"
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --workspace --locked --no-fail-fast "$@"
else
    echo "(cargo-nextest is not installed; cargo test does as well, but slower)"
    cargo test --workspace --locked --no-fail-fast "$@"
fi

if [ -s "$missing" ]; then
    step "not run"
    sort "$missing" | uniq
fi
