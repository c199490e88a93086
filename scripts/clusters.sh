# shellcheck shell=bash
# What the scripts that start clusters share: which servers, whether hosts of their own, a limit of time, the conformance run.
# Sourced after lib.sh, not run.

# In the order in which they are preferred.
NAMES='valkey-9.1 redis-7.0 valkey-8.1 redis-8.2 redis-6.2'
# A run that takes longer hangs; the limit excludes the build.
LIMIT_SECONDS=900
USABLE=''

# usable NAME: adds the server to the list if it can be had here.
usable() {
    case $1 in
    redis-7.0)
        local version
        version=$(redis-server --version 2>/dev/null | sed -n 's/.* v=\([0-9.]*\).*/\1/p') || true
        case $version in
        7.0.*) USABLE+=' redis-7.0' ;;
        '') missing 'redis-7.0: no redis-server on PATH (Debian 12: apt install redis-server)' ;;
        *) missing "redis-7.0: the redis-server on PATH is $version" ;;
        esac
        ;;
    *) if provide "$1"; then USABLE+=" $1"; fi ;;
    esac
}

choose() {
    local name
    case ${SERVER:-} in
    '') for name in valkey-9.1 redis-7.0; do usable "$name"; done ;;
    all) for name in $NAMES; do usable "$name"; done ;;
    path) USABLE=path ;;
    */*)
        [ -x "$SERVER" ] || die "SERVER=$SERVER is no program that can be run"
        # The tests run in their package's folder.
        USABLE=$(cd "$(dirname "$SERVER")" && pwd)/${SERVER##*/}
        ;;
    *)
        case " $NAMES " in
        *" $SERVER "*) usable "$SERVER" ;;
        *) die "SERVER=$SERVER is unknown; allowed: $NAMES, path (the one on PATH), a path to a server, or all" ;;
        esac
        ;;
    esac
    if [ -z "$USABLE" ]; then
        failed 'no server could be had: the tests on real clusters need one'
        summary
    fi
}

# hosts: whether tests may have hosts of their own, which are network namespaces. Where they may not, the tests in
# modules of that name are left out, the conformance suite says so itself, and it is noted here.
WITHOUT_HOSTS=''
hosts() {
    local why='' probe=failsoft-$$-probe
    if [ "$(uname)" != Linux ]; then
        why='this is no Linux'
    elif [ "$(id -u)" -ne 0 ]; then
        why='not root'
    elif ! command -v ip >/dev/null || ! command -v nft >/dev/null; then
        why='no ip or no nft on PATH (Debian: apt install iproute2 nftables)'
    elif ! ip netns add "$probe" 2>/dev/null || ! ip netns delete "$probe"; then
        why='network namespaces are not allowed here'
    fi
    [ -n "$why" ] || return 0
    # shellcheck disable=SC2034 # for those who source this
    WITHOUT_HOSTS='--skip hosts::'
    missing "real partitions, which need hosts of their own: $why"
}

# bounded COMMAND...: ends a command that hangs, and on Ctrl-C, with all that it started.
bounded() {
    local limit
    limit=$(command -v timeout || command -v gtimeout) || { "$@"; return; }
    "$limit" --kill-after=20 "$LIMIT_SECONDS" "$@" &
    local pid=$!
    trap 'kill -TERM "$pid" 2>/dev/null; exit 130' INT TERM
    local code=0
    wait "$pid" || code=$?
    trap - INT TERM
    [ "$code" -ne 124 ] || say "error: stopped after $LIMIT_SECONDS s: a test hangs"
    return "$code"
}

# export_server SERVER: what tells the test kit which server to use, and where the packages of servers are.
export_server() {
    export FAILSOFT_SERVER=$1 FAILSOFT_PYTHON=$TOOLS/venv/bin/python
    # Without a Python environment the test kit looks for one itself.
    [ -x "$FAILSOFT_PYTHON" ] || unset FAILSOFT_PYTHON
}

# run_conformance ARGUMENT...: every scenario against every binding there is, on all servers of USABLE. Rust's is
# always there, Python's with CONFORMANCE_PYTHON, an interpreter that can import the package, Node's with
# CONFORMANCE_NODE, a Node for which the addon is in node/, C's with CONFORMANCE_C, the driver that
# conformance_driver_c builds.
run_conformance() {
    local server
    local -a with=()
    for server in $USABLE; do with+=(--server "$server"); done
    if [ -n "${CONFORMANCE_PYTHON:-}" ]; then
        local driver=$CONFORMANCE_PYTHON\ tests/conformance/drivers/python/driver.py
        with+=(--driver "python=$driver asyncio" --driver "python-blocking=$driver blocking")
    fi
    if [ -n "${CONFORMANCE_C:-}" ]; then
        with+=(--driver "c=$CONFORMANCE_C threads" --driver "c-fd=$CONFORMANCE_C fd")
    fi
    if [ -n "${CONFORMANCE_NODE:-}" ]; then
        with+=(--driver "node=$CONFORMANCE_NODE tests/conformance/drivers/node/driver.mjs")
    fi
    cargo build --quiet --locked -p failsoft-conformance --bins || return 1
    (
        export_server "${USABLE##* }"
        bounded cargo run --quiet --locked -p failsoft-conformance --bin conformance -- "${with[@]}" "$@"
    )
}
