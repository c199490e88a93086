# shellcheck shell=bash
# The Node package: what it is tested with, its addon, and the package itself. Sourced after lib.sh, not run.
# shellcheck source=scripts/zig.sh
. scripts/zig.sh

# node_found: is there a Node that is new enough? Otherwise notes what is missing.
node_found() {
    if node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' 2>/dev/null && npm --version >/dev/null 2>&1; then
        return
    fi
    missing 'Node: no Node.js 20 or newer with npm on PATH'
    return 1
}

# node_modules FOLDER: installs what its lock file says into it; a second run does nothing.
node_modules() {
    cmp -s "$1/package-lock.json" "$1/node_modules/.lock" && return
    say "set-up: npm packages into $1/node_modules"
    (cd "$1" && npm ci --no-audit --no-fund --ignore-scripts --loglevel error) || return 1
    cp "$1/package-lock.json" "$1/node_modules/.lock"
}

# The name of this platform, as node/lib/native.js has it.
node_platform() {
    (cd node && node -p 'require("./lib/platform.js").name')
}

# node_platform_of TARGET: the same for what Rust calls TARGET.
node_platform_of() {
    local -a part
    IFS=- read -ra part <<<"$1"
    case ${part[0]} in
    x86_64) part[0]=x64 ;;
    aarch64) part[0]=arm64 ;;
    *) die "Node has no name for the processor of $1" ;;
    esac
    say "${part[2]}-${part[0]}${part[3]:+-${part[3]}}"
}

# place_addon LIBRARY FOLDER: the addon as the package of this platform has it. Replaced, not overwritten: it may be loaded.
place_addon() {
    local addon
    addon=$2/failsoft.$(node_platform).node
    rm -f "$addon"
    cp "$1" "$addon"
}

# library FOLDER: where cargo put the addon.
library() {
    local file
    for file in "$1/libfailsoft_node.so" "$1/libfailsoft_node.dylib"; do
        [ ! -f "$file" ] || say "$file"
    done
}

# addon_release TARGET: the addon as it is published for what Rust calls TARGET; its path. In a shell of its own: what is
# set up for that build is not for others.
addon_release() (
    local addon
    if [[ $1 == *-linux-* ]]; then zig_set_up "$1" || return 1; fi
    cargo rustc --release --locked -p failsoft-node --target "$1" -- -C strip=symbols >&2 || return 1
    addon=$(library "${CARGO_TARGET_DIR:-target}/$1/release")
    [ -n "$addon" ] || die "cargo put no addon for $1 where it was looked for"
    [[ $1 != *-linux-gnu ]] || check_linked "$addon" || return 1
    say "$addon"
)

STAGE=$TOOLS/npm

# stage_package: what the npm package consists of, but for an addon.
stage_package() {
    rm -rf "$STAGE"
    mkdir -p "$STAGE"
    cp -r node/package.json node/README.md node/index.* node/lib node/types node/bin LICENSE-* "$STAGE"
}

# pack_stage FOLDER: makes it a package.
pack_stage() {
    mkdir -p "$1"
    (cd "$1" && npm pack --silent --pack-destination . "$STAGE")
}

# pack LIBRARY FOLDER: the npm package with this addon inside.
pack() {
    stage_package && place_addon "$1" "$STAGE" && pack_stage "$2"
}

# install_addon: the addon as it is published in its place under node/, and the package with it in .tools/packed.
install_addon() {
    local addon
    addon=$(addon_release "$(rustc --print host-tuple)") || return 1
    place_addon "$addon" node && rm -rf "$TOOLS/packed" && pack "$addon" "$TOOLS/packed" &&
        cargo build --quiet --locked -p failsoft-testkit --example testkit
}

# unpack_package FOLDER: what is inside that package, with the tests beside it.
unpack_package() {
    rm -rf "$1"
    mkdir -p "$1"
    tar -xzf "$TOOLS"/packed/failsoft-*.tgz -C "$1" --strip-components 1 && cp -r node/test "$1"
}
