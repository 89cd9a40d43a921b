#!/usr/bin/env bash
# Prints the library of faketime, which gives a process another wall clock. Where it is not installed it comes out of the
# Debian package, into .cache/faketime, so that the machine's packages stay as they are; with `look` nothing is fetched.
# Exit 3: not to be had here.
set -euo pipefail
cd "$(dirname "$0")/../.."

cache=$PWD/.cache/faketime

library() {
    find /usr/lib /usr/local/lib "$cache" -name libfaketimeMT.so.1 -print -quit 2>/dev/null
}

if [ -z "$(library)" ]; then
    [ "${1:-}" != look ] || exit 3
    command -v apt-get >/dev/null || { echo "no libfaketime, and no apt-get" >&2; exit 3; }
    mkdir -p "$cache"
    fetch() { (cd "$cache" && apt-get -qq download libfaketime >&2); }
    fetch || { apt-get -qq update >&2 && fetch; } || { echo "libfaketime cannot be fetched" >&2; exit 3; }
    dpkg-deb --extract "$cache"/libfaketime_*.deb "$cache"
    rm -f "$cache"/libfaketime_*.deb
fi
library
