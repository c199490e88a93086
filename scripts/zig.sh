# shellcheck shell=bash
# Building for Linux by way of zig, which links against an old glibc, and for other processors. Sourced after lib.sh.

# zig_set_up: cargo-zigbuild and zig, on PATH.
zig_set_up() {
    scripts/set-up ziglang cargo-zigbuild >&2 || return 1
    PATH=$TOOLS/venv/bin:$PATH
}

# zig_target TARGET: that target as cargo-zigbuild takes it, with the glibc of manylinux2014, which every Linux in use has.
zig_target() {
    case $1 in
    *-linux-gnu) say "$1.2.17" ;;
    *) say "$1" ;;
    esac
}
