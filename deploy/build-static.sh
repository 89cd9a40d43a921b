#!/bin/sh
# Compiles the proxy into one static binary and lays out what the image holds: build-static.sh FOLDER
#
# LW_IMAGE_PROFILE=dev compiles faster and runs slower, for tests. Static glibc looks up names by itself (files and
# DNS are built in since 2.34), so the names of Compose services resolve without further files in the image.
set -eu
cd "$(dirname "$0")/.."
out=${1:?a folder for the result}
case $out in /*) ;; *) out=$PWD/$out ;; esac

profile=${LW_IMAGE_PROFILE:-dist}
folder=$profile
[ "$profile" != dev ] || folder=debug

# The allocator is compiled for one size of memory pages and does not start where they are larger. On arm64 they differ from
# kernel to kernel, up to 64 KiB; what is compiled for those runs on all.
case $(uname -m) in aarch64 | arm64) export JEMALLOC_SYS_WITH_LG_PAGE=16 ;; esac

target=$(rustc -vV | sed -n 's/^host: //p')
# A target that is named keeps these flags away from build scripts and procedural macros.
RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --profile "$profile" --locked --bin lw-inference-proxy --target "$target" --target-dir target

rm -rf "$out"
mkdir -p "$out/etc/ssl/certs"
cp "target/$target/$folder/lw-inference-proxy" "$out/"
if [ -r /etc/ssl/certs/ca-certificates.crt ]; then
    cp /etc/ssl/certs/ca-certificates.crt "$out/etc/ssl/certs/"
else
    echo "no /etc/ssl/certs/ca-certificates.crt here: https collectors will not be trusted by this image" >&2
fi
