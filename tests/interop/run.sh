#!/usr/bin/env bash
# Opens a store's tables with other engines, and compares what they see with what this one sees; and reads encrypted
# files with Arrow, with the key and without it.
#
# usage: tests/interop/run.sh [STORE]
#
# Without STORE a small one with rows in every table is made. The other engines come from PyPI, pinned, into a virtual
# environment below TMPDIR; nothing else is fetched, and an engine that cannot be loaded is a failure. INFERWATCH names
# the program to use; without it, that of the tests is brought up to date.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

environment=${TMPDIR:-/tmp}/inferwatch-interop-venv
if [ ! -x "$environment/bin/pip" ]; then
    python3 -m venv --clear "$environment"
fi
"$environment/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: -r "$here/requirements.txt"

if [ -z "${INFERWATCH:-}" ]; then
    # The selection and profile of `cargo test --workspace`, so that nothing is compiled twice.
    (cd "$root" && cargo test --workspace --no-run --quiet)
    target=$(cd "$root" && cargo metadata --format-version 1 --no-deps \
        | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
    INFERWATCH=$target/debug/inferwatch
fi

if [ $# -ge 1 ]; then
    "$environment/bin/python" "$here/check.py" "$INFERWATCH" "$1"
else
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    python3 "$here/make_store.py" "$INFERWATCH" "$folder/store" "$root/testdata/formats"
    "$environment/bin/python" "$here/check.py" "$INFERWATCH" "$folder/store" --every-table
    "$environment/bin/python" "$here/encrypted.py" "$INFERWATCH" "$root/testdata/formats"
fi
