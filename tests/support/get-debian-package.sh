#!/usr/bin/env bash
# Downloads a package of a Debian suite, which need not be the machine's own, and leaves the machine's packages as they are:
# get-debian-package.sh SUITE PACKAGE FOLDER [with-dependencies]
# The files are in FOLDER/archives then, and the rest of FOLDER is apt's state. Exit 3: not to be had here, and why.
set -euo pipefail

suite=$1 package=$2 state=$3 which=${4:-alone}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

not_here() {
    echo "no Debian package $package: $*" >&2
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

command -v apt-get >/dev/null || not_here "the command apt-get is missing"
from=$(mirror)
[ -n "$from" ] || not_here "apt knows no Debian mirror on this machine; name one in DEBIAN_MIRROR"
[ -r "$keyring" ] || not_here "$keyring is missing; install debian-archive-keyring"
mkdir -p "$state"/{lists/partial,archives/partial,none}
: >"$state/status" # as on a machine without any package: everything needed is downloaded
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
if [ "$which" = with-dependencies ]; then
    apt-get -qq install --download-only --yes --no-install-recommends "$package" >&2
else
    (cd "$state/archives" && apt-get -qq download "$package" >&2)
fi || not_here "it cannot be fetched from $from"
