#!/usr/bin/env bash
# Tries an image of the proxy: try-image.sh IMAGE. It must turn healthy and stop at once, as root and as nobody.
set -euo pipefail
image=${1:?an image}
socket=${SOCKET:-/var/run/docker.sock}

try() {
    local id began=$SECONDS
    id=$(docker run --detach --read-only --cap-drop ALL --volume "$socket:/var/run/docker.sock:ro" \
        --label lw-inference-proxy.test=image "$@" "$image")
    trap 'docker rm --force "$id" >/dev/null' RETURN
    until [ "$(docker inspect --format '{{.State.Health.Status}}' "$id")" = healthy ]; do
        [ $((SECONDS - began)) -lt 60 ] || { docker logs "$id"; echo "not healthy in 60 s: $*" >&2; return 1; }
        sleep 1
    done
    began=$SECONDS
    docker stop "$id" >/dev/null
    [ "$(docker inspect --format '{{.State.ExitCode}}' "$id")" = 0 ] && [ $((SECONDS - began)) -lt 8 ] ||
        { docker logs "$id"; echo "no clean stop: $*" >&2; return 1; }
    echo "good: $image $*"
}

docker run --rm "$image" --version
try
try --user 65532:65532 --group-add "$(stat -c %g "$socket")"
