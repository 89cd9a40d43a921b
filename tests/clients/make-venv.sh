#!/usr/bin/env bash
# Makes .venv with the Python clients, again only when a list of requirements changed. Needs no root.
set -euo pipefail
cd "$(dirname "$0")/../.."

lists=(tests/clients/requirements.txt tests/llama/requirements.txt tests/otlp/requirements.txt)
want=$(cat "${lists[@]}" | cksum)
if [ -x .venv/bin/python ] && [ "$(cat .venv/made-from 2>/dev/null)" = "$want" ]; then
    exit 0
fi

python=$(command -v python3) || {
    echo "python3 is not installed; on Debian: apt-get install python3 python3-venv" >&2
    exit 1
}
rm -rf .venv
# Debian keeps pip's seed for new environments in a package of its own. Where it is missing, any pip of the
# machine can fill an environment without one.
if "$python" -m venv .venv 2>/dev/null; then
    pip=(.venv/bin/python -m pip)
elif rm -rf .venv && "$python" -m venv --without-pip .venv 2>/dev/null && "$python" -m pip --version >/dev/null 2>&1; then
    pip=("$python" -m pip --python .venv/bin/python)
elif rm -rf .venv && "$python" -m virtualenv .venv >/dev/null 2>&1; then
    pip=(.venv/bin/python -m pip)
else
    rm -rf .venv
    echo "python3 cannot make environments here; on Debian: apt-get install python3-venv" >&2
    exit 1
fi

install=()
for list in "${lists[@]}"; do install+=(-r "$list"); done
"${pip[@]}" install --quiet --disable-pip-version-check "${install[@]}" || {
    echo "the Python clients could not be installed (is the package index reachable?)" >&2
    exit 1
}
echo "$want" >.venv/made-from
echo "made .venv with $(.venv/bin/python -c 'import openai, anthropic; print("openai", openai.__version__, "and anthropic", anthropic.__version__)')"
