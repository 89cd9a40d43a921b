#!/usr/bin/env bash
# Makes sure that nginx is installed. It is fetched only in CI; other machines stay as they are.
set -euo pipefail

here() { [ -x /usr/sbin/nginx ] || [ -x /usr/local/sbin/nginx ] || [ -x /usr/bin/nginx ]; }

here && exit
[ "${CI:-}" = true ] || { echo "not installed (Debian: apt-get install nginx-light)" >&2; exit 1; }
root=()
[ "$(id -u)" = 0 ] || root=(sudo)
{ "${root[@]}" apt-get update && "${root[@]}" apt-get install -y --no-install-recommends nginx-light; } >/dev/null 2>&1 || true
here
