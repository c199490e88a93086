# shellcheck shell=bash
# The C library: built, linked, and laid out as it is installed. Sourced after lib.sh, not run.

C_VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
C_SOURCES=bindings/c

# c_libraries: what the static library needs of the system, or of the one that C_TARGET names.
c_libraries() {
    local made
    made=$(mktemp -d)
    # shellcheck disable=SC2086 # options
    rustc --print native-static-libs --crate-type staticlib ${C_TARGET:+--target "$C_TARGET"} ${RUST_OPTIONS:-} \
        -o "$made/empty.a" - </dev/null 2>&1 | sed -n 's/.*native-static-libs: //p'
    rm -rf "$made"
}

# c_build PROFILE [OPTION...]: the static library of that profile (dev or release), built with these options; its path.
c_build() {
    local folder=debug
    [ "$1" = dev ] || folder=$1
    cargo build --quiet --locked --profile "$1" -p failsoft-c "${@:2}" || return 1
    say "${CARGO_TARGET_DIR:-target}/$folder/libfailsoft_c.a"
}

# c_template FILE LIBRARIES: one of the templates, filled in; PC_PREFIX is where the `.pc` file says that all is, PREFIX
# if it is not set.
c_template() {
    local major=${C_VERSION%%.*} rest=${C_VERSION#*.}
    sed -e "s|@PREFIX@|${PC_PREFIX:-$PREFIX}|" -e "s|@VERSION@|$C_VERSION|" -e "s|@MAJOR@|$major|" -e "s|@MINOR@|${rest%%.*}|" \
        -e "s|@LIBS@|$2|" "$C_SOURCES/$1"
}

# c_exported: the functions of the header.
c_exported() { grep -oE '^[a-z_].*[ *]failsoft_[a-z_]+\(' "$C_SOURCES/include/failsoft.h" | grep -oE 'failsoft_[a-z_]+\($' | tr -d '('; }

# c_static ARCHIVE LIBRARY: that static library with the functions of the header as its only names: those of Rust's
# library, of `ring` and of all else inside are not to meet a program's own. LD and OBJCOPY for another processor.
c_static() {
    local place roots
    place=$(mktemp -d)
    c_exported >"$place/exported"
    roots=$(sed 's/^/-u /' "$place/exported")
    # shellcheck disable=SC2086 # words
    "${LD:-ld}" -r --gc-sections --force-group-allocation $roots -o "$place/failsoft.o" --whole-archive "$1" &&
        "${OBJCOPY:-objcopy}" --keep-global-symbols="$place/exported" -R .llvmbc -R .llvmcmd "$place/failsoft.o" &&
        rm -f "$2" && "${AR:-ar}" rcs "$2" "$place/failsoft.o" || return 1
    rm -rf "$place"
}

# c_install ARCHIVE: header, both libraries, .pc and CMake package of that static library into $DESTDIR$PREFIX. The
# shared library is linked from the static one: a cdylib of cargo takes no version script of ours.
c_install() {
    local archive=$1 into=${DESTDIR:-}$PREFIX libraries major=${C_VERSION%%.*}
    libraries=$(c_libraries)
    # The compiler that links a program brings it, in the form that fits: `-static` has none of this name.
    local for_programs=${libraries/-lgcc_s /}
    mkdir -p "$into/include" "$into/lib/pkgconfig" "$into/lib/cmake/failsoft"
    install -m 644 "$C_SOURCES/include/failsoft.h" "$into/include/failsoft.h"
    c_static "$archive" "$into/lib/libfailsoft.a" || return 1
    # `nodelete`: its threads run on if a program unloads it. `--gc-sections`: what no function of ours reaches, goes.
    # shellcheck disable=SC2086 # a command with its options; a list of libraries
    ${CC:-cc} -shared -o "$into/lib/libfailsoft.so.$C_VERSION" \
        -Wl,--whole-archive "$archive" -Wl,--no-whole-archive -Wl,--gc-sections \
        -Wl,--version-script="$C_SOURCES/failsoft.map" -Wl,-soname,"libfailsoft.so.$major" \
        -Wl,-z,defs -Wl,-z,relro -Wl,-z,now -Wl,-z,nodelete $libraries || return 1
    ln -sf "libfailsoft.so.$C_VERSION" "$into/lib/libfailsoft.so.$major"
    ln -sf "libfailsoft.so.$major" "$into/lib/libfailsoft.so"
    c_template failsoft.pc.in "$for_programs" >"$into/lib/pkgconfig/failsoft.pc"
    c_template failsoft-config.cmake.in "${for_programs// /;}" >"$into/lib/cmake/failsoft/failsoft-config.cmake"
    c_template failsoft-config-version.cmake.in '' >"$into/lib/cmake/failsoft/failsoft-config-version.cmake"
}

# c_strip FOLDER: the libraries there without what debuggers read, which is most of them.
c_strip() { "${STRIP:-strip}" --strip-debug "$1/lib/libfailsoft.so.$C_VERSION" "$1/lib/libfailsoft.a"; }

# What tests run on: the library as it is published, unpacked as its users have it.
C_TESTED=$PWD/target/c/tested

# c_unpack: makes it anew.
c_unpack() {
    local packed=$TOOLS/c-packed
    rm -rf "$packed" "$C_TESTED"
    mkdir -p "$C_TESTED"
    scripts/package-c "$(rustc --print host-tuple)" "$packed" &&
        tar -xzf "$packed"/libfailsoft-*.tar.gz -C "$C_TESTED" --strip-components 1
}

# c_driver: the driver of the conformance suite, linked to that library; its path.
c_driver() {
    local program=target/c/conformance-driver
    # shellcheck disable=SC2046 # lists of flags
    cc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Werror -g -o "$program" tests/conformance/drivers/c/*.c \
        $(PKG_CONFIG_PATH=$C_TESTED/lib/pkgconfig pkg-config --cflags --libs failsoft libcjson) \
        -Wl,-rpath,"$C_TESTED/lib" >&2 || return 1
    say "$program"
}

# conformance_driver_c: CONFORMANCE_C for run_conformance, if it can be built here; c_unpack comes first.
conformance_driver_c() {
    if ! pkg-config --exists libcjson 2>/dev/null; then
        missing 'conformance in C: no cJSON (Debian 12: apt install pkg-config libcjson-dev)'
        return
    fi
    CONFORMANCE_C=${CONFORMANCE_C:-$(c_driver)} || failed 'conformance: the C driver'
    export CONFORMANCE_C
}
