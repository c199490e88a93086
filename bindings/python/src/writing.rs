//! A writer that holds its keys around a transaction of its own store.

use crate::base::{Core, Manner};
use crate::convert::all_octets;
use crate::ending;
use crate::errors::raised;
use crate::given::Form;
use bytes::Bytes;
use failsoft::Error;
use failsoft::foreign::{Inside, forks};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What both kinds of `Writing` are made of: they call each step once, in this order.
#[pyclass(frozen, module = "failsoft._failsoft")]
pub(crate) struct Writer {
    place: Mutex<Place>,
    forks: u32,
}

enum Place {
    /// With the keys that it is going to hold.
    Before(Vec<Bytes>),
    /// Or on its way there.
    Inside(Inside),
    After,
}

impl Writer {
    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was in its place, if it was the place to go on from.
    fn leave(&self, fits: fn(&Place) -> bool) -> Option<Place> {
        let mut place = self.place();
        fits(&place).then(|| std::mem::replace(&mut *place, Place::After))
    }

    /// In a forked child it is the parent that is inside, whose threads may have locked what belongs to it.
    fn is_inherited(&self) -> bool {
        forks() != self.forks
    }

    fn let_go(&self) {
        let place = std::mem::replace(&mut *self.place(), Place::After);
        if self.is_inherited() {
            std::mem::forget(place);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.let_go();
    }
}

#[pymethods]
impl Writer {
    #[new]
    fn new(keys: &Bound<'_, PyTuple>) -> PyResult<Self> {
        ending::watch();
        Ok(Self { place: Mutex::new(Place::Before(all_octets(keys)?)), forks: forks() })
    }

    /// Holds the keys.
    fn begin<'py>(&self, router: &Bound<'py, Core>) -> PyResult<Bound<'py, PyAny>> {
        ending::watch();
        let Some(Place::Before(keys)) = self.leave(|place| matches!(place, Place::Before(_))) else {
            return Err(PyRuntimeError::new_err("`writing` was entered before: each transaction has one of its own"));
        };
        let py = router.py();
        let begun = router.get().call(py, None, Manner::Long, Form::BYTES, |foreign, caller| {
            let (pending, inside) = foreign.begin_writing(caller, keys)?;
            *self.place() = Place::Inside(inside);
            Ok(pending)
        });
        // Also of a thread that was interrupted when the hold had just been taken.
        begun.inspect_err(|_| self.give_up(py))
    }

    /// Invalidates the keys, and lifts the hold.
    fn end<'py>(&self, router: &Bound<'py, Core>) -> PyResult<Bound<'py, PyAny>> {
        ending::watch();
        let py = router.py();
        if self.is_inherited() {
            return Err(raised(py, &Error::Forked));
        }
        let Some(Place::Inside(inside)) = self.leave(|place| matches!(place, Place::Inside(_))) else {
            return Err(PyRuntimeError::new_err("`writing` was left, but nobody is inside"));
        };
        router.get().call(py, None, Manner::Short, Form::BYTES, |foreign, caller| {
            // Many keys take a while, in which other threads may go on.
            py.detach(|| foreign.end_writing(caller, &inside))
        })
    }

    /// Lifts the hold, if there is one, in the background: for one who did not get inside.
    fn give_up(&self, py: Python<'_>) {
        py.detach(|| self.let_go());
    }
}
