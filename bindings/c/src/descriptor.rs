//! A descriptor that is readable as long as there is something to dispatch, for poll loops.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

/// Two ends of one pipe: it holds at most a few bytes.
pub(crate) struct Descriptor {
    watched: UnixStream,
    set: UnixStream,
    /// It was set since it was last cleared: a byte is there, or on its way.
    raised: AtomicBool,
}

impl Descriptor {
    pub(crate) fn new() -> std::io::Result<Self> {
        let (watched, set) = UnixStream::pair()?;
        watched.set_nonblocking(true)?;
        set.set_nonblocking(true)?;
        Ok(Self { watched, set, raised: AtomicBool::new(false) })
    }

    /// What the program watches; it stays the same.
    pub(crate) fn number(&self) -> RawFd {
        self.watched.as_raw_fd()
    }

    pub(crate) fn set(&self) {
        if !self.raised.swap(true, Ordering::AcqRel) {
            // It fails only when it is full, and so readable already.
            let _ = (&self.set).write(&[1]);
        }
    }

    /// To be called before the caller looks what there is: what is set meanwhile may be cleared, too.
    pub(crate) fn clear(&self) {
        self.raised.store(false, Ordering::Release);
        self.empty();
        self.clear_again();
    }

    /// The same soon after a [`clear`](Self::clear): it costs nothing if nothing was set since.
    pub(crate) fn clear_again(&self) {
        // Set and emptied between the two, it would look set for ever: so it is looked at again.
        while self.raised.swap(false, Ordering::AcqRel) {
            self.empty();
        }
    }

    fn empty(&self) {
        let mut bytes = [0; 64];
        loop {
            match (&self.watched).read(&mut bytes) {
                Ok(read) if read == bytes.len() => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Fewer bytes than there is room for, or none at all: it is empty.
                Ok(_) | Err(_) => return,
            }
        }
    }
}
