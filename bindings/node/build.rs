//! Links the addon as Node loads it: symbols of Node stay open, and the library is never unloaded while
//! its I/O thread runs.

fn main() {
    napi_build::setup();
}
