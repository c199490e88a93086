//! Wakes an event loop from the I/O thread: by a descriptor that it watches, or by its own method for it.

use crate::ending;
use failsoft::foreign::Channel;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};
use std::sync::Arc;

#[cfg(target_os = "linux")]
pub(crate) use descriptor::Descriptor;

#[cfg(target_os = "linux")]
mod descriptor {
    use rustix::event::{EventfdFlags, eventfd};
    use std::os::fd::{AsRawFd, OwnedFd, RawFd};
    use std::sync::Arc;

    /// An eventfd.
    #[derive(Clone)]
    pub(crate) struct Descriptor(Arc<OwnedFd>);

    impl Descriptor {
        pub(crate) fn new() -> std::io::Result<Self> {
            Ok(Self(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
        }

        pub(crate) fn number(&self) -> RawFd {
            self.0.as_raw_fd()
        }

        pub(crate) fn set(&self) {
            // It fails only when the counter is full, and then the loop is to be woken already.
            let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
        }

        pub(crate) fn clear(&self) {
            // It fails only when it is clear.
            let _ = rustix::io::read(&*self.0, &mut [0_u8; 8]);
        }
    }
}

/// A channel whose first completion calls `loop.call_soon_threadsafe(drain)`. The I/O thread never
/// waits for the interpreter: another thread does. It does not keep the loop.
pub(crate) fn by_method(event_loop: &Bound<'_, PyAny>) -> PyResult<(Arc<Channel>, Arc<Drain>)> {
    let drain = Arc::new(Drain::default());
    let weak = PyWeakrefReference::new(event_loop)?.unbind();
    let (weak, ours) = (Arc::new(weak), Arc::clone(&drain));
    let here = (Arc::clone(&weak), Arc::clone(&drain));
    let channel = Channel::new(move || {
        let (weak, drain) = (Arc::clone(&weak), Arc::clone(&ours));
        let elsewhere = std::thread::Builder::new().spawn(move || call_soon(&weak, &drain));
        if elsewhere.is_err() {
            // No thread is to be had. Late is better than never.
            call_soon(&here.0, &here.1);
        }
    });
    Ok((channel, drain))
}

fn call_soon(event_loop: &Py<PyWeakrefReference>, drain: &Drain) {
    // Nothing when the interpreter is ending: nobody waits any more.
    ending::watch();
    Python::try_attach(|py| {
        if let (Some(drain), Some(event_loop)) = (drain.0.get(), event_loop.bind(py).upgrade()) {
            // A closed loop waits for nothing.
            let _ = event_loop.call_method1(intern!(py, "call_soon_threadsafe"), (drain,));
        }
    });
}

/// What is called on the loop.
#[derive(Default)]
pub(crate) struct Drain(pub(crate) std::sync::OnceLock<Py<PyAny>>);
