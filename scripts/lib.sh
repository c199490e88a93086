# shellcheck shell=bash
# What the scripts share: the root, the set-up of one tool, steps, and the closing summary.
# Sourced, not run. Works with bash 3.2, which is what macOS ships.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck disable=SC2034 # for those who source this
TOOLS=$PWD/.tools

# One name a line: what a run did, could not do, and found wrong.
CHECKED='' MISSING='' FAILED=''

say() { printf '%s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
checked() { CHECKED+="$1"$'\n'; }
missing() { MISSING+="$1"$'\n'; }
failed() { FAILED+="$1"$'\n'; }

case ${FAILSOFT_REQUIRE:-} in
'' | all) ;;
*) die "FAILSOFT_REQUIRE is '$FAILSOFT_REQUIRE'; allowed: all, or unset" ;;
esac

# step NAME COMMAND...: runs one check and notes how it ended; the next one runs all the same, so one run shows everything.
step() {
    local name=$1 began=$SECONDS
    shift
    say "==> $name"
    if "$@"; then
        checked "$name ($((SECONDS - began)) s)"
    else
        failed "$name"
    fi
}

# provide NAME: installs one tool; when it cannot be had here, notes that and is false.
provide() {
    scripts/set-up "$1" || { missing "$1: could not be installed (see above)"; return 1; }
}

# summary: the closing lines. Ends the script: 1 if something failed, or was left out while everything is required.
summary() {
    say ''
    list 'CHECKED' "$CHECKED"
    list 'NOT CHECKED' "$MISSING"
    list 'FAILED' "$FAILED"
    [ -z "$FAILED" ] || exit 1
    if [ -n "$MISSING" ] && [ "${FAILSOFT_REQUIRE:-}" = all ]; then
        say 'FAILSOFT_REQUIRE=all: what was not checked is a failure.'
        exit 1
    fi
    exit 0
}

list() {
    local line
    while IFS= read -r line; do
        [ -z "$line" ] || say "$1: $line"
    done <<<"$2"
}
