#!/usr/bin/env bash
# Prints the folder to use as DOCKER_CONFIG so that `docker compose` (version 2) is there; empty where it is already.
# The plugin comes out of the package of a newer Debian, under .cache/compose, so that the machine's packages stay as they
# are. What was fetched once is kept. Exit 3: not to be had here, and why.
set -euo pipefail
cd "$(dirname "$0")/../.."

cache=$PWD/.cache/compose
config=$cache/config
plugin=$config/cli-plugins/docker-compose
suite=trixie # the first Debian with version 2

not_here() {
    echo "no docker compose: $*" >&2
    exit 3
}

command -v docker >/dev/null || not_here "there is no docker command"
docker compose version >/dev/null 2>&1 && exit 0
if [ ! -x "$plugin" ]; then
    state=$cache/apt
    tests/support/get-debian-package.sh "$suite" docker-compose "$state" ||
        not_here "neither the plugin nor its package is there; install Docker Compose 2"
    dpkg-deb --extract "$state"/archives/docker-compose_*.deb "$state/root"
    install -D "$state/root/usr/libexec/docker/cli-plugins/docker-compose" "$plugin"
    rm -rf "$state"
fi
DOCKER_CONFIG=$config docker compose version >/dev/null || not_here "the plugin $plugin does not run here"
echo "$config"
