//! Calls that block their caller's own thread.

use super::Caller;
use super::channel::{Channel, Completion};
use super::run::Parent;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Wakes a waiting thread. A ring before the wait ends that wait at once.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    /// Wakes the thread that waits, or the one that waits next.
    pub fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    /// Waits until it is rung, at most as long as `limit`, if there is one.
    pub fn wait(&self, limit: Option<Duration>) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rung = match limit {
            None => self.changed.wait_while(rung, |rung| !*rung).unwrap_or_else(PoisonError::into_inner),
            Some(limit) => {
                let waited = self.changed.wait_timeout_while(rung, limit, |rung| !*rung);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        *rung = false;
    }
}

/// A blocking call: the channel for its completions, and the bell that rings for them. Dropping it closes the channel,
/// so that a callback which has not been run passes to another caller.
#[derive(Debug)]
pub struct Waiting {
    channel: Arc<Channel>,
    bell: Arc<Bell>,
}

impl Default for Waiting {
    fn default() -> Self {
        let bell = Arc::new(Bell::default());
        let ringer = Arc::clone(&bell);
        Self { channel: Channel::without_loading(move || ringer.ring()), bell }
    }
}

impl Waiting {
    /// What the call has to be started with.
    pub fn caller<'a>(&'a self, parent: Option<&'a Parent>) -> Caller<'a> {
        Caller { channel: &self.channel, token: 0, parent }
    }

    /// Rung when completions have come.
    pub fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// Takes all completions; see [`Channel::drain`].
    pub fn drain(&self, batch: &mut Vec<Completion>) {
        self.channel.drain(batch);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.channel.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_before_the_wait_is_heard_once() {
        let bell = Bell::default();
        bell.ring();
        bell.ring();
        bell.wait(None);
        assert!(!*bell.rung.lock().expect("nobody panics with it"));
        bell.wait(Some(Duration::ZERO));
    }
}
