#!/bin/sh
# Takes traffic from a canary when inferwatch finds that it has regressed: the program of a sink of kind `command`,
# on a route for the rule `canary-regression`.
#
#   [sinks.rollback]
#   kind = "command"
#   command = ["deploy/canary-rollback.sh"]
#   pass_env = ["CANARY_WEIGHTS", "CANARY_LOG"]
#
#   [[routes]]
#   sinks = ["rollback"]
#   rules = ["canary-regression"]
#
# The weights are a file with a line `<deployment> <percent>` for each deployment, as a gateway reads it. Put what your
# gateway needs in place of `set_weight`; nothing else here knows of it.
#
# It is called at least once for a finding, and may be called again for the same: setting a weight to 0 twice is
# harmless. Exit code 0 says that it is done, anything else that it is to be tried again.
set -eu

weights=${CANARY_WEIGHTS:-weights.txt}
log=${CANARY_LOG:-rollback.log}
deployment=${INFERWATCH_ENTITY_MODEL_DEPLOYMENT:-}

set_weight() {
    # A new file in place of the old one: whoever reads sees the one or the other.
    # The name is read from the environment, where awk takes nothing in it for an escape.
    NAME=$1 WEIGHT=$2 awk '$1 == ENVIRON["NAME"] { $2 = ENVIRON["WEIGHT"]; found = 1 } { print } END { exit !found }' \
        "$weights" > "$weights.new" || { rm -f "$weights.new"; return 1; }
    mv "$weights.new" "$weights"
}

if [ "${INFERWATCH_TEST:-false}" = true ]; then
    echo "a test: nothing is rolled back"
    exit 0
fi
if [ -z "$deployment" ]; then
    echo "the finding names no deployment" >&2
    exit 1
fi
if ! set_weight "$deployment" 0; then
    echo "no deployment of that name in $weights" >&2
    exit 1
fi
printf '%s %s %s\n' "$INFERWATCH_KEY" "$INFERWATCH_EVENT" "$deployment" >> "$log"
echo "no traffic for $deployment any more"
