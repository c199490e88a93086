//! Links the addon as Node loads it: Node's own symbols stay undefined, and the library is never unloaded while its I/O
//! thread runs.

fn main() {
    napi_build::setup();
}
