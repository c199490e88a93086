//! The extension module `failsoft._failsoft`: routers for asyncio and for threads, over the core's
//! interface for foreign callbacks. What decides anything is in the core.

mod base;
mod blocking;
mod caller;
mod config;
mod convert;
mod direct;
mod ending;
mod entries;
mod errors;
mod event_loop;
mod given;
mod history;
mod home;
mod interpreter;
mod load;
mod loops;
mod mark;
mod messages;
mod outcome;
mod router;
mod running;
mod settle;
mod tls;
mod wake;
mod writing;

use pyo3::prelude::*;

/// The core for `failsoft`: made for `python/failsoft`, not for users.
#[pymodule(gil_used = true)]
mod _failsoft {
    use super::*;

    #[pymodule_export]
    use super::base::{AsyncRouter, BlockingRouter, Core};
    #[pymodule_export]
    use super::config::{settings, vocabulary};
    #[pymodule_export]
    use super::event_loop::EventLoop;
    #[pymodule_export]
    use super::history::LastInvalidation;
    #[pymodule_export]
    use super::load::{Load, Parent};
    #[pymodule_export]
    use super::outcome::Outcome;
    #[pymodule_export]
    use super::tls::Tls;
    #[pymodule_export]
    use super::writing::Writer;

    /// Tells the core that this is a forked child: for `os.register_at_fork`.
    #[pyfunction]
    fn after_fork(py: Python<'_>) -> PyResult<()> {
        failsoft::foreign::after_fork();
        super::loops::after_fork(py)
    }

    /// The command `failsoft` with these arguments, the program's name first; its exit code.
    #[pyfunction]
    fn run_command(py: Python<'_>, arguments: Vec<std::ffi::OsString>) -> u8 {
        py.detach(|| failsoft_cli::run(arguments))
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::interpreter::check(module.py())?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
