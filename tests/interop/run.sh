#!/usr/bin/env bash
# Opens a store's tables with other engines, and compares what they see.
#
# usage: tests/interop/run.sh [STORE]
#
# Without STORE one is made by the integration tests, together with what this engine sees in it. The other engines come
# from PyPI, pinned, into a virtual environment below TMPDIR.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
environment=${TMPDIR:-/tmp}/inferwatch-interop-venv
if [ ! -x "$environment/bin/python" ]; then
    python3 -m venv "$environment"
fi
"$environment/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"

if [ $# -ge 1 ]; then
    exec "$environment/bin/python" "$here/check.py" "$1"
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
INFERWATCH_INTEROP="$folder" cargo test --quiet --manifest-path "$here/../../Cargo.toml" --package inferwatch --test it -- \
    --ignored --exact store::interop_store
"$environment/bin/python" "$here/check.py" "$folder/store" "$folder/expected.json"
