# shellcheck shell=bash
# Building what is published for Linux, and for other processors: zig links against an old glibc. Sourced after lib.sh.

# What Rust's library takes of libgcc_s, with the version in which each came.
UNWINDING='GCC_3.0 DeleteException GetDataRelBase GetGR GetIP GetLanguageSpecificData GetRegionStart GetTextRelBase RaiseException Resume SetGR SetIP
GCC_3.3 Backtrace FindEnclosingFunction GetCFA Resume_or_Rethrow
GCC_4.2.0 GetIPInfo'

# zig_set_up TARGET: cargo and maturin build for what Rust calls TARGET by way of zig, from here on; ZIG_CC is that
# compiler, RUST_OPTIONS what rustc needs. All three packages are built with it, so they share what they have in common.
zig_set_up() {
    local target=$1 place=$TOOLS/zig/$1 named=${1//-/_} libc='' cargo
    cargo=CARGO_TARGET_$(tr '[:lower:]' '[:upper:]' <<<"$named")
    scripts/set-up ziglang cargo-zigbuild >&2 || return 1
    PATH=$TOOLS/venv/bin:$PATH
    # The glibc of manylinux2014, which every Linux in use has.
    [[ $target != *-linux-gnu ]] || libc=.2.17
    mkdir -p "$place"
    zig_program ar 'exec cargo-zigbuild zig ar -- "$@"' || return 1
    zig_program plain "exec cargo-zigbuild zig cc -- -target ${target/-unknown/}$libc \"\$@\"" || return 1
    # glibc ends a thread (pthread_exit, pthread_cancel, a daemon thread of Python) by unwinding its stack with the
    # system's libgcc_s. That and the libunwind that zig would link instead do not understand each other: the process dies.
    # musl does not unwind.
    if [ -n "$libc" ]; then
        [ -s "$place/libgcc_s.so.1" ] || zig_libgcc_s "$place" || return 1
        # shellcheck disable=SC2016 # the words are the program's
        zig_program cc 'for word; do shift; [ "$word" != -lgcc_s ] || word='"$place"'/libgcc_s.so.1; set -- "$@" "$word"; done
exec '"$place"'/plain "$@"' || return 1
    else
        zig_program cc "exec $place/plain \"\$@\"" || return 1
        # A library that a program loads takes the C library of that program.
        RUST_OPTIONS='-C target-feature=-crt-static'
        export "${cargo}_RUSTFLAGS=$RUST_OPTIONS"
    fi
    ZIG_CC=$place/cc
    export PATH "CC_$named=$ZIG_CC" "AR_$named=$place/ar" "${cargo}_LINKER=$ZIG_CC"
}

# zig_program NAME TEXT: a shell script in $place; left alone if it is the same, for cargo looks at its time.
zig_program() {
    local made
    made=$(printf '#!/bin/sh\n%s\n' "$2")
    [ "$made" = "$(cat "$place/$1" 2>/dev/null)" ] && return
    printf '%s\n' "$made" >"$place/$1" && chmod +x "$place/$1"
}

# zig_libgcc_s FOLDER: what stands for the system's libgcc_s.so.1 at the link: its names and versions, and no code.
zig_libgcc_s() {
    local version names name
    : >"$1/libgcc_s.map"
    while read -r version names; do
        printf '%s { _Unwind_%s; };\n' "$version" "${names// /; _Unwind_}" >>"$1/libgcc_s.map"
        for name in $names; do printf 'void _Unwind_%s(void) {}\n' "$name"; done
    done <<<"$UNWINDING" >"$1/libgcc_s.c"
    "$1/plain" -shared -nostdlib -fno-builtin -w -Wl,-soname,libgcc_s.so.1 -Wl,--version-script="$1/libgcc_s.map" \
        -o "$1/libgcc_s.so.1" "$1/libgcc_s.c"
}

# check_linked LIBRARY: what is published for glibc has no unwinding of its own and takes the system's, and needs no newer
# glibc than manylinux2014 has.
check_linked() {
    local needed newest
    needed=$(readelf -dW "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
    [[ $needed == *libgcc_s.so.1* ]] || die "$1 does not take its unwinding from libgcc_s.so.1: $needed"
    # Stripped, it does not tell what is inside by name; LLVM's libunwind has its own in its messages.
    if readelf -sW "$1" | awk '$7 != "UND" && $8 ~ /^_Unwind_/ { found = 1 } END { exit !found }' || grep -q 'libunwind: ' "$1"; then
        die "$1 has unwinding of its own"
    fi
    newest=$(readelf -VW "$1" | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -n 1)
    [ "$(printf '%s\n' "$newest" GLIBC_2.17 | sort -V | tail -n 1)" = GLIBC_2.17 ] || die "$1 needs $newest"
}
