//! After a fork the child has none of its parent's threads: the core is told before anything else runs there.

use std::sync::Once;

extern "C" fn in_child() {
    failsoft::foreign::after_fork();
}

/// Has the child told, from now on.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the function takes nothing and does nothing but add to an atomic number, which is allowed there. The
        // library is never unloaded (`-z nodelete`). It fails only without memory; then a child is not recognised.
        let _ = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}
