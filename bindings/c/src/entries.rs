//! The asynchronous calls under way: the program's functions for each, and how it is cancelled.

use crate::load::Callback;
use crate::many::{OnOutcomes, Outcomes};
use crate::outcome::Outcome;
use crate::reads::OnOutcome;
use crate::status::Failure;
use crate::writes::OnDone;
use failsoft::foreign::Pending;
use slab::Slab;
use std::ffi::c_void;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// One call. There are as many as the program has started.
pub(crate) struct Entry {
    pub(crate) loader: Option<Callback>,
    /// None once it was called.
    pub(crate) then: Option<Then>,
    pub(crate) data: *mut c_void,
}

/// The function to call at its end.
#[derive(Clone, Copy)]
pub(crate) enum Then {
    Outcome(unsafe extern "C" fn(crate::status::Status, *mut Outcome, *mut c_void)),
    Outcomes(unsafe extern "C" fn(crate::status::Status, *mut Outcomes, *mut c_void)),
    Done(unsafe extern "C" fn(crate::status::Status, *mut c_void)),
}

impl Then {
    pub(crate) fn outcome(then: OnOutcome) -> Option<Self> {
        then.map(Self::Outcome)
    }

    pub(crate) fn outcomes(then: OnOutcomes) -> Option<Self> {
        then.map(Self::Outcomes)
    }

    pub(crate) fn done(then: OnDone) -> Result<Self, Failure> {
        then.map(Self::Done).ok_or_else(|| Failure::null("on_done"))
    }
}

// SAFETY: the header says that callbacks are called on threads of the library.
unsafe impl Send for Entry {}

/// One call under way.
struct Read {
    entry: Entry,
    pending: Option<Pending>,
    /// The program has cancelled it, so its loader must not begin any more.
    given_up: bool,
}

#[derive(Default)]
struct Table {
    reads: Slab<Read>,
    /// How often each place was used. Together with the place, that makes a number that is never used again.
    uses: Vec<u32>,
    /// Calls that were removed and whose function is still running.
    calling: usize,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Entries {
    table: Mutex<Table>,
    emptied: Condvar,
}

impl Entries {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a call. Its number is both the program's and the token for the core. It is never 0 and never used again,
    /// so a late cancellation cannot hit another call.
    pub(crate) fn insert(&self, entry: Entry) -> u64 {
        let mut table = self.lock();
        let place = table.reads.insert(Read { entry, pending: None, given_up: false });
        if table.uses.len() <= place {
            table.uses.resize(place + 1, 0);
        }
        let uses = &mut table.uses[place];
        *uses = uses.wrapping_add(1);
        u64::from(*uses) << 32 | place as u64
    }

    /// Keeps what cancels a call, unless the call has ended already.
    pub(crate) fn started(&self, number: u64, pending: Pending) {
        if let Some(read) = self.lock().read(number) {
            // Another thread may have cancelled it before this one got here.
            if read.given_up {
                pending.cancel();
            }
            read.pending = Some(pending);
        }
    }

    /// Cancels the call with this number, unless it has ended. An error if no call ever had the number.
    pub(crate) fn give_up(&self, number: u64) -> Result<(), ()> {
        let mut table = self.lock();
        let (uses, place) = parts(number);
        match table.uses.get(place) {
            Some(&used) if uses != 0 && uses <= used => {}
            _ => return Err(()),
        }
        if let Some(read) = table.read(number) {
            read.given_up = true;
            if let Some(pending) = &read.pending {
                pending.cancel();
            }
        }
        Ok(())
    }

    /// The loader of a call that is not cancelled.
    pub(crate) fn loader(&self, number: u64) -> Option<Callback> {
        let mut table = self.lock();
        let read = table.read(number)?;
        if read.given_up && read.pending.is_some() {
            return None;
        }
        read.entry.loader.clone()
    }

    /// The function of a call that has its answer and goes on, to be called once.
    pub(crate) fn serve(&self, number: u64) -> Option<(Then, *mut c_void)> {
        let mut table = self.lock();
        let entry = &mut table.read(number)?.entry;
        Some((entry.then.take()?, entry.data))
    }

    /// Removes a call that has ended or did not start. [`called`](Self::called) has to follow.
    pub(crate) fn remove(&self, number: u64) -> Option<Entry> {
        let mut table = self.lock();
        let place = table.place(number)?;
        let read = table.reads.try_remove(place)?;
        table.calling += 1;
        Some(read.entry)
    }

    /// The function of a removed call has returned. Wakes [`wait_called`](Self::wait_called) if it was the last one.
    pub(crate) fn called(&self) {
        let mut table = self.lock();
        table.calling -= 1;
        if table.is_done() {
            self.emptied.notify_all();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().reads.is_empty()
    }

    /// Waits until all calls have ended and all their functions have returned.
    pub(crate) fn wait_called(&self) {
        let table = self.emptied.wait_while(self.lock(), |table| !table.is_done());
        drop(table.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Table {
    fn is_done(&self) -> bool {
        self.reads.is_empty() && self.calling == 0
    }

    /// The call with this number, if it is under way.
    fn read(&mut self, number: u64) -> Option<&mut Read> {
        let place = self.place(number)?;
        self.reads.get_mut(place)
    }

    /// The place of the call with this number, if no other call has the place by now.
    fn place(&self, number: u64) -> Option<usize> {
        let (uses, place) = parts(number);
        (self.uses.get(place) == Some(&uses)).then_some(place)
    }
}

/// How often the place had been used, and the place itself.
fn parts(number: u64) -> (u32, usize) {
    let low = number & u64::from(u32::MAX);
    ((number >> 32) as u32, usize::try_from(low).unwrap_or(usize::MAX))
}
