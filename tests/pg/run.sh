#!/usr/bin/env bash
# Asks the server with psql and psycopg, and with what Grafana and Metabase ask when they are told of a new source.
#
# usage: tests/pg/run.sh
#
# psql is the system's; psycopg comes from PyPI, pinned, into a virtual environment below TMPDIR. INFERWATCH names the
# program to use; without it, that of the tests is brought up to date.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

environment=${TMPDIR:-/tmp}/inferwatch-pg-venv
if [ ! -x "$environment/bin/pip" ]; then
    python3 -m venv --clear "$environment"
fi
"$environment/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: -r "$here/requirements.txt"

if [ -z "${INFERWATCH:-}" ]; then
    (cd "$root" && cargo test --workspace --no-run --quiet)
    target=$(cd "$root" && cargo metadata --format-version 1 --no-deps \
        | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
    INFERWATCH=$target/debug/inferwatch
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$environment/bin/python" "$here/check.py" "$INFERWATCH" "$folder" "$root/testdata/formats" "$root/deploy/grafana-dashboard.json"
