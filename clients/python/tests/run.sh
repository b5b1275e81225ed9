#!/usr/bin/env bash
# Type-checks and tests the Python package; with INFERWATCH_BIN, also against the program of that name.
#
# usage: clients/python/tests/run.sh [PYTEST ARGUMENT]...
#
# What the tests need comes from PyPI, pinned, into a virtual environment below TMPDIR.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

environment=${TMPDIR:-/tmp}/inferwatch-python-venv
if [ ! -x "$environment/bin/pip" ]; then
    python3 -m venv --clear "$environment"
fi
"$environment/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: -r "$here/requirements.txt"

cd "$here/.."
export PYTHONDONTWRITEBYTECODE=1
"$environment/bin/mypy" --cache-dir "$environment/mypy-cache"
"$environment/bin/python" -m pytest --quiet -p no:cacheprovider "$@"
