//! Ctrl-C and SIGTERM as an event, so that what was started can be stopped in order.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens from the moment it is made; the process no longer ends by itself then.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for one of them; returns the exit code that shells know it by (128 and the signal's number).
    pub(crate) async fn wait(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }
}
