#!/usr/bin/env bash
# Compiles each layer under tests/layers alone: its Cargo.toml lists only what that layer may use.
set -euo pipefail
cd "$(dirname "$0")/.."

found=0
for manifest in tests/layers/*/Cargo.toml; do
    [ -e "$manifest" ] || continue
    found=$((found + 1))
    echo "layer $(basename "$(dirname "$manifest")"):"
    # One at a time: checked together, the layers would lend each other the features of their libraries.
    cargo check --quiet --locked --manifest-path "$manifest"
done
[ "$found" -gt 0 ] || { echo "tests/layers holds no layer" >&2; exit 1; }
echo "$found layers compile alone"
