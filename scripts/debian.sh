# shellcheck shell=bash
# Debian's packages, unpacked into .tools/ and nowhere else: with lists of its own, so for other processors too, and without
# root. Sourced after lib.sh, not run.

APT=$TOOLS/apt

# apt COMMAND...: one of apt-get's, with the sources and the keys of this system and nothing else of it.
apt() {
    local option
    local -a options=()
    for option in APT::Architecture=amd64 APT::Architectures::=amd64 APT::Architectures::=arm64 APT::Sandbox::User=root \
        Dir::State="$APT" Dir::State::Lists="$APT/lists" Dir::State::Status="$APT/status" Dir::Cache="$APT/cache"; do
        options+=(-o "$option")
    done
    apt-get -qq "${options[@]}" "$@"
}

# install_debian NAME: what tools/NAME.txt lists, NAME:ARCHITECTURE=VERSION a line, into .tools/NAME.
install_debian() {
    local place=$TOOLS/$1 package program
    command -v apt-get >/dev/null || die "$1 comes from Debian's packages, and there is no apt-get here"
    rm -rf "$place"
    mkdir -p "$place/packages" "$place/bin" "$APT/lists/partial" "$APT/cache/archives/partial"
    : >"$APT/status"
    apt update || return 1
    # shellcheck disable=SC2046 # a list of packages
    (cd "$place/packages" && apt download $(grep -v '^#' "../../../tools/$1.txt")) || return 1
    for package in "$place"/packages/*.deb; do dpkg -x "$package" "$place" || return 1; done
    rm -rf "$place/packages"
    # Its programs find its libraries, which are not where the system's are.
    for program in "$place"/usr/bin/*; do
        [ -f "$program" ] || continue
        printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$place/usr/lib/x86_64-linux-gnu" "$program" \
            >"$place/bin/${program##*/}" && chmod +x "$place/bin/${program##*/}" || return 1
    done
}
