#!/bin/sh
# Drives the dashboard of a built inferwatch in headless Chromium. Screenshots go to tests/browser/shots.
#
#   tests/browser/run.sh target/debug/inferwatch
#   ONLY=keyboard WEB=$PWD/web/dist tests/browser/run.sh target/debug/inferwatch
#
# `ONLY` is a part of the names of tests; `WEB` has files of the front end that are used instead of those in the program.
#
# Installs playwright-core from npm and, where it is missing and this is root on Debian, chromium. Without a package
# registry there is nothing to test with: it says so and ends with 0. Anything else that fails is a failure.
set -eu
program=$(realpath "${1:?usage: $0 PATH-OF-INFERWATCH}")
cd "$(dirname "$0")"

skip() {
    echo "browser tests skipped: $1" >&2
    exit 0
}

command -v node >/dev/null || skip "there is no Node"
if [ ! -d node_modules/playwright-core ]; then
    npm ping >/dev/null 2>&1 || skip "no npm registry can be reached"
    npm ci --no-audit --no-fund
fi
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$browser" ]; then
    command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || skip "there is no Chromium"
    apt-get update -qq || skip "no package mirror can be reached"
    apt-get install -y -qq --no-install-recommends chromium
    browser=$(command -v chromium)
fi
exec node drive.mjs "$program" "$browser"
