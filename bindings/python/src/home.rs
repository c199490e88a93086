//! Exceptions that the core lets go of: on its own thread, which has not the interpreter's lock, so their loop has to.
//!
//! PyO3 puts aside what is let go of without the lock, until some thread next calls the extension. On a loop that calls
//! nothing any more, an exception would keep the frames that it went through, and all that these hold.

use failsoft::foreign::Channel;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Wake;

/// What one loop is to let go of. No more than the results that the core keeps. Without a loop, as for threads that wait
/// themselves, it is left to PyO3.
#[derive(Clone, Default)]
pub(crate) struct Home(Option<Arc<Left>>);

struct Left {
    /// None when the loop is gone.
    objects: Mutex<Option<Vec<Py<PyAny>>>>,
    channel: Weak<Channel>,
}

impl Home {
    /// Of the loop that is woken by this channel.
    pub(crate) fn new(channel: &Arc<Channel>) -> Self {
        let objects = Mutex::new(Some(Vec::new()));
        Self(Some(Arc::new(Left { objects, channel: Arc::downgrade(channel) })))
    }

    /// From any thread.
    pub(crate) fn leave(&self, object: Py<PyAny>) {
        let Some(left) = &self.0 else { return };
        let mut objects = left.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waiting) = &mut *objects else { return };
        waiting.push(object);
        let first = waiting.len() == 1;
        drop(objects);
        if let (true, Some(channel)) = (first, left.channel.upgrade()) {
            channel.wake();
        }
    }

    /// On the loop, after its wake-up was noted: what comes from then on wakes it again.
    pub(crate) fn let_go(&self) {
        let Some(left) = &self.0 else { return };
        let objects = left.objects.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(std::mem::take);
        drop(objects);
    }

    /// The loop is gone.
    pub(crate) fn close(&self) {
        let Some(left) = &self.0 else { return };
        let objects = left.objects.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(objects);
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(left) = &self.0 else { return Ok(()) };
        // The core's thread may hold the lock for a moment: then they are visited the next time.
        let Ok(objects) = left.objects.try_lock() else { return Ok(()) };
        objects.iter().flatten().try_for_each(|object| visit.call(object))
    }
}
