# shellcheck shell=bash
# The Python package as it is installed for tests, into an environment of its own. Sourced after lib.sh, not run.

# shellcheck source=scripts/zig.sh
. scripts/zig.sh

PYTHON=$TOOLS/python/bin

# wheel_release TARGET FOLDER: the wheel as it is published for what Rust calls TARGET. In a shell of its own: what is
# set up for that build is not for others.
wheel_release() (
    local -a options=(--release --locked --target "$1" --out "$2")
    scripts/set-up maturin >&2 || return 1
    case $1 in
    *-linux-gnu) options+=(--compatibility manylinux2014) ;;
    *-linux-musl) options+=(--compatibility musllinux_1_2) ;;
    esac
    if [[ $1 == *-linux-* ]]; then zig_set_up "$1" || return 1; fi
    "$TOOLS/venv/bin/maturin" build "${options[@]}" || return 1
    [[ $1 == *-linux-gnu ]] || return 0
    "$TOOLS/venv/bin/python" -m zipfile -e "$2"/*.whl "$TOOLS/wheel-checked" &&
        check_linked "$TOOLS/wheel-checked/failsoft/_failsoft.abi3.so"
)

# install_wheel: the wheel as it is published, installed.
install_wheel() {
    rm -rf "$TOOLS/wheels"
    wheel_release "$(rustc --print host-tuple)" "$TOOLS/wheels" || return 1
    "$PYTHON/python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall "$TOOLS"/wheels/*.whl ||
        return 1
    cargo build --quiet --locked -p failsoft-testkit --example testkit
}
