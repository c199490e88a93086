//! The runs of callbacks on one event loop, which end with it.
//!
//! A task of a loop that is closed never ends, and nobody cancels it: it is left in a circle with the run that it was to
//! answer, until the garbage collector comes by, if ever.

use failsoft::foreign::Run;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A run, until it is answered.
pub(crate) type Slot = Arc<Mutex<Option<Run>>>;

/// See the module. Without a loop, as for threads that wait themselves, it is one's own.
#[derive(Clone, Default)]
pub(crate) struct Running(Arc<Mutex<HashMap<u64, Slot>>>);

impl Running {
    pub(crate) fn add(&self, run: Run) -> Slot {
        let id = run.id();
        let slot: Slot = Arc::new(Mutex::new(Some(run)));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&slot));
        slot
    }

    /// This one has ended.
    pub(crate) fn remove(&self, id: u64) {
        let removed = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        drop(removed);
    }

    /// The loop is gone: callbacks of others who wait take over.
    pub(crate) fn abandon(&self) {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for slot in all.into_values() {
            let run = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(run);
        }
    }
}
