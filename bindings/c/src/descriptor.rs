//! A descriptor that is readable as long as there is something to dispatch, for poll loops.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

/// Two ends of one pipe: it holds at most a few bytes.
pub(crate) struct Descriptor {
    watched: UnixStream,
    set: UnixStream,
}

impl Descriptor {
    pub(crate) fn new() -> std::io::Result<Self> {
        let (watched, set) = UnixStream::pair()?;
        watched.set_nonblocking(true)?;
        set.set_nonblocking(true)?;
        Ok(Self { watched, set })
    }

    /// What the program watches; it stays the same.
    pub(crate) fn number(&self) -> RawFd {
        self.watched.as_raw_fd()
    }

    pub(crate) fn set(&self) {
        // It fails only when it is full, and so readable already.
        let _ = (&self.set).write(&[1]);
    }

    pub(crate) fn clear(&self) {
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
