#!/usr/bin/env bash
# Has the compose tool read every compose file of the repository. Exit 3: there is no such tool here.
set -euo pipefail
cd "$(dirname "$0")/../.."

config=$(tests/compose/get-compose.sh)
[ -z "$config" ] || export DOCKER_CONFIG=$config
docker compose version

bad=0
for file in $(git ls-files --cached --others --exclude-standard -- 'compose.yaml' '*/compose.yaml'); do
    if said=$(docker compose --file "$file" config --quiet 2>&1) && [ -z "$said" ]; then
        echo "good: $file"
    else
        printf 'BAD:  %s\n%s\n' "$file" "$said"
        bad=1
    fi
    # Docker's 10 s between a stop and a kill would cut answers off: the proxy and its servers need more.
    docker compose --file "$file" config --format json | python3 -c '
import json, sys
for name, service in json.load(sys.stdin)["services"].items():
    routed = name == "proxy" or service.get("labels", {}).get("inference.enable") == "true"
    if routed and service.get("stop_grace_period") != "1m15s":
        sys.exit(f"BAD:  {sys.argv[1]}: {name} needs a stop_grace_period of 75s")
    if service.get("labels", {}).get("inference.enable") == "true" and "healthcheck" not in service:
        sys.exit(f"BAD:  {sys.argv[1]}: {name} needs a health check")
' "$file" || bad=1
done
exit $bad
