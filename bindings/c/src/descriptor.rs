//! A descriptor for poll loops: readable as long as there is something to dispatch.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

/// The two ends of a socket pair, which never holds more than a few bytes.
pub(crate) struct Descriptor {
    watched: UnixStream,
    set: UnixStream,
    /// Set since it was last cleared: a byte has been written or is about to be.
    raised: AtomicBool,
}

impl Descriptor {
    pub(crate) fn new() -> std::io::Result<Self> {
        let (watched, set) = UnixStream::pair()?;
        watched.set_nonblocking(true)?;
        set.set_nonblocking(true)?;
        Ok(Self { watched, set, raised: AtomicBool::new(false) })
    }

    /// The descriptor that the program polls. It never changes.
    pub(crate) fn number(&self) -> RawFd {
        self.watched.as_raw_fd()
    }

    pub(crate) fn set(&self) {
        if !self.raised.swap(true, Ordering::AcqRel) {
            // It fails only if the socket is full, and then it is readable already.
            let _ = (&self.set).write(&[1]);
        }
    }

    /// Makes it unreadable. To be called before looking for completions: it may also clear what was set just now.
    pub(crate) fn clear(&self) {
        self.raised.store(false, Ordering::Release);
        self.empty();
        self.clear_again();
    }

    /// The same after a [`clear`](Self::clear), at no cost if it was not set since.
    pub(crate) fn clear_again(&self) {
        // If it was set and emptied between the two steps, `raised` would stay true with nothing to read, so this
        // repeats.
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
                // Fewer bytes than the buffer has room for, or none: it is empty.
                Ok(_) | Err(_) => return,
            }
        }
    }
}
