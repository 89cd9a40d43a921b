#!/usr/bin/env bash
# Builds the image lw-llama:test: a real llama.cpp server with a tiny model. Needs no registry and no root.
# The packages come from Debian unstable, under .cache/llama, so that the machine's packages stay as they are. What was
# fetched once is kept. Exit 3: cannot be made here, and why.
set -euo pipefail
cd "$(dirname "$0")/../.."

image=lw-llama:test
cache=$PWD/.cache/llama

not_here() {
    echo "no llama.cpp image: $*" >&2
    exit 3
}

# One tree out of the packages, as a tar file for the image.
make_root() {
    local root=$cache/root package
    rm -rf "$root"
    mkdir -p "$root"/{tmp,usr/{bin,sbin,lib,lib64}}
    for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$root/$folder"; done
    for package in "$cache"/apt/archives/*.deb; do dpkg-deb --extract "$package" "$root"; done
    rm -rf "$root"/usr/share/{doc,man,locale,perl5,bash-completion,lintian} "$root"/var
    [ -x "$root/usr/bin/llama-server" ] || not_here "llama.cpp-tools holds no /usr/bin/llama-server any more"
    # The same packages give the same archive, so that a second clone finds the image that a first one built.
    tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$root" -cf "$cache/root.tar.new" .
    mv "$cache/root.tar.new" "$cache/root.tar"
    rm -rf "$root"
}

for tool in docker apt-get dpkg-deb; do
    command -v "$tool" >/dev/null || not_here "the command $tool is missing"
done
docker version >/dev/null 2>&1 || not_here "no Docker engine reachable"

mkdir -p "$cache"
if [ ! -s "$cache/root.tar" ]; then
    tests/support/get-debian-package.sh sid llama.cpp-tools "$cache/apt" with-dependencies ||
        not_here "its packages cannot be had"
    make_root
fi

want=$(cat tests/llama/{Dockerfile,make_tiny_gguf.py} "$cache/root.tar" | cksum | tr ' ' -)
label=lw-inference-proxy.test.sources
have=$(docker image inspect --format "{{index .Config.Labels \"$label\"}}" "$image" 2>/dev/null || true)
[ "$have" != "$want" ] || exit 0

tests/clients/make-venv.sh || not_here "the Python environment cannot be made"
context=$cache/context
rm -rf "$context"
mkdir -p "$context"
.venv/bin/python tests/llama/make_tiny_gguf.py "$context/tiny.gguf"
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS=-Ctarget-feature=+crt-static cargo build --quiet --release --package mock-inference --target "$host" --target-dir target
cp "target/$host/release/mock-inference" "$context/mock"
ln "$cache/root.tar" "$context/root.tar"
cp tests/llama/Dockerfile "$context/"
old=$(docker image inspect --format '{{.Id}}' "$image" 2>/dev/null || true)
docker build --quiet --tag "$image" --label lw-inference-proxy.test=image --label "$label=$want" "$context" >/dev/null
rm -rf "$context"
# What was replaced is ours; a container that still uses it keeps it until the next time.
new=$(docker image inspect --format '{{.Id}}' "$image")
[ -z "$old" ] || [ "$old" = "$new" ] || docker image rm "$old" >/dev/null 2>&1 || true
echo "built $image: $(docker image inspect --format '{{.Size}}' "$image") bytes"
