# shellcheck shell=bash
# Rust for other targets. If the compiler here has no library for one: Debian's compiler, and Rust's library built from its
# sources. Sourced after lib.sh, not run.

CROSS=$TOOLS/rust-cross

# cross_set_up TARGET: from here on there is a library for what Rust calls TARGET, and what else its packages are made with.
cross_set_up() {
    cross_has "$1" || cross_debian "$1" || return 1
    [[ $1 == aarch64-* && $(uname -m) == x86_64 && -z ${LD:-} ]] || return 0
    scripts/set-up binutils-arm64 || return 1
    local named=$TOOLS/binutils-arm64/bin/aarch64-linux-gnu
    export LD=$named-ld OBJCOPY=$named-objcopy AR=$named-ar STRIP=$named-strip
}

cross_has() { [ -d "$(rustc --print target-libdir --target "$1")" ]; }

# cross_debian TARGET: the same from Debian, in place of the compiler here.
cross_debian() {
    [ "$(uname -m)" = x86_64 ] || die "Rust's library for $1 is not here; rustup target add $1"
    scripts/set-up rust-cross || return 1
    export PATH=$CROSS/bin:$PATH RUSTC=$CROSS/bin/rustc
    cross_has "$1" || cross_library "$1"
}

# cross_library TARGET: builds Rust's library as its own build does, and puts it where the compiler looks.
cross_library() (
    local built=$CROSS/built place
    place=$("$RUSTC" --print target-libdir --target "$1")
    say "set-up: Rust's library for $1 into .tools/rust-cross, built from source, once: some minutes"
    zig_set_up "$1" || return 1
    cd "$CROSS"/usr/lib/rustlib/src/rust/library/sysroot || return 1
    # Only for these sources: they are those of this very compiler.
    RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zforce-unstable-if-unmarked CARGO_TARGET_DIR=$built \
        cargo build --quiet --profile dist --features backtrace --locked --target "$1" || return 1
    mkdir -p "$place.new" && cp "$built/$1"/dist/deps/*.rlib "$place.new" && rm -rf "$built" && mv "$place.new" "$place"
)
