#!/usr/bin/env bash
# Prints the folder to use as DOCKER_CONFIG so that `docker compose` (version 2) is there; empty where it is already.
# The plugin comes out of the package of a newer Debian, through an apt state of this script's own under .cache/compose,
# so that the machine's packages stay as they are. What was fetched once is kept. Exit 3: not to be had here, and why.
set -euo pipefail
cd "$(dirname "$0")/../.."

cache=$PWD/.cache/compose
config=$cache/config
plugin=$config/cli-plugins/docker-compose
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
suite=trixie # the first Debian with version 2

not_here() {
    echo "no docker compose: $*" >&2
    exit 3
}

# The machine's own Debian mirror, or DEBIAN_MIRROR.
mirror() {
    if [ -n "${DEBIAN_MIRROR:-}" ]; then
        echo "$DEBIAN_MIRROR"
    else
        apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -m1 '/debian/*$' || true
    fi
}

command -v docker >/dev/null || not_here "there is no docker command"
docker compose version >/dev/null 2>&1 && exit 0
if [ ! -x "$plugin" ]; then
    command -v apt-get >/dev/null || not_here "neither the plugin nor apt-get is there; install Docker Compose 2"
    from=$(mirror)
    [ -n "$from" ] || not_here "apt knows no Debian mirror on this machine; name one in DEBIAN_MIRROR"
    [ -r "$keyring" ] || not_here "$keyring is missing; install debian-archive-keyring"
    state=$cache/apt
    mkdir -p "$state"/{lists/partial,archives/partial,none}
    : >"$state/status"
    echo "deb [signed-by=$keyring] $from $suite main" >"$state/sources.list"
    cat >"$state/apt.conf" <<CONF
Dir::Etc::SourceList "$state/sources.list";
Dir::Etc::SourceParts "$state/none";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "$state/none";
Dir::State "$state";
Dir::State::Lists "$state/lists";
Dir::State::status "$state/status";
Dir::Cache "$state";
Dir::Cache::Archives "$state/archives";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Retries "3";
Debug::NoLocking "true";
CONF
    export APT_CONFIG=$state/apt.conf
    apt-get -qq update >&2 || not_here "the package lists of Debian $suite cannot be fetched from $from"
    (cd "$state/archives" && apt-get -qq download docker-compose >&2) ||
        not_here "the package docker-compose cannot be fetched from $from"
    unset APT_CONFIG
    dpkg-deb --extract "$state"/archives/docker-compose_*.deb "$state/root"
    install -D "$state/root/usr/libexec/docker/cli-plugins/docker-compose" "$plugin"
    rm -rf "$state"
fi
DOCKER_CONFIG=$config docker compose version >/dev/null || not_here "the plugin $plugin does not run here"
echo "$config"
