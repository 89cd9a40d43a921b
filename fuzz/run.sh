#!/usr/bin/env bash
# Runs every fuzzer, or those that are named, for SECONDS_EACH. What they find that is new stays in fuzz/corpus; an input
# that fails is left in fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")/.."

each=${SECONDS_EACH:-60}
# The longest input that is tried, in bytes: longer than the longest target of a request.
max_len=8704

if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "cargo-fuzz is missing: cargo install --locked cargo-fuzz, and rustup toolchain install nightly" >&2
    exit 1
fi

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    mapfile -t targets < <(cargo +nightly fuzz list)
fi
for target in "${targets[@]}"; do
    printf '\n== %s, %s s\n' "$target" "$each"
    mkdir -p "fuzz/corpus/$target"
    options=("-max_total_time=$each" "-max_len=$max_len" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1)
    [ ! -e "fuzz/dictionaries/$target" ] || options+=("-dict=fuzz/dictionaries/$target")
    cargo +nightly fuzz run "$target" "fuzz/corpus/$target" "fuzz/corpus-seeds/$target" -- "${options[@]}"
done
