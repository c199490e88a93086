# shellcheck shell=bash
# The Python package as it is installed for tests, into an environment of its own. Sourced after lib.sh, not run.

PYTHON=$TOOLS/python/bin

# The wheel as it is installed, unoptimised: it shares what other tests have built.
install_wheel() {
    rm -rf "$TOOLS/wheels"
    "$TOOLS/venv/bin/maturin" build --quiet --profile dev --locked --compatibility linux --out "$TOOLS/wheels" \
        --interpreter "$PYTHON/python" || return 1
    "$PYTHON/python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall "$TOOLS"/wheels/*.whl ||
        return 1
    cargo build --quiet --locked -p failsoft-testkit --example testkit
}
