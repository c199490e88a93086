//! The asynchronous reads under way: what is called for each, and what cancels it.

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

/// One read. There are as many as the program has started.
pub(crate) struct Entry {
    pub(crate) loader: Option<Callback>,
    pub(crate) then: Then,
    pub(crate) data: *mut c_void,
}

/// What is called at its end.
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

/// One read under way.
struct Read {
    entry: Entry,
    pending: Option<Pending>,
    /// The program has given it up: its loader does not begin any more.
    given_up: bool,
}

#[derive(Default)]
struct Table {
    reads: Slab<Read>,
    /// How often each place was used: with the place, the number of a read that is never given again.
    uses: Vec<u32>,
    /// Reads that were removed, and for whose end something is being called.
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

    /// Enters a read. Gives its number, for the program and as its token for the core: never 0, and never given again,
    /// so that what comes late is not taken for another read's.
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

    /// What cancels it, unless it has ended already.
    pub(crate) fn started(&self, number: u64, pending: Pending) {
        if let Some(read) = self.lock().read(number) {
            // Another thread may have had its number already.
            if read.given_up {
                pending.cancel();
            }
            read.pending = Some(pending);
        }
    }

    /// Cancels the read of this number, unless it has ended. An error if there never was one.
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

    /// The loader of a read that is not cancelled.
    pub(crate) fn loader(&self, number: u64) -> Option<Callback> {
        let mut table = self.lock();
        let read = table.read(number)?;
        if read.given_up && read.pending.is_some() {
            return None;
        }
        read.entry.loader.clone()
    }

    /// The read has ended, or did not begin. [`called`](Self::called) follows.
    pub(crate) fn remove(&self, number: u64) -> Option<Entry> {
        let mut table = self.lock();
        let place = table.place(number)?;
        let read = table.reads.try_remove(place)?;
        table.calling += 1;
        Some(read.entry)
    }

    /// What is called at the end of a read that was removed has returned: whoever waits for the last one looks.
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

    /// Waits until all have ended, and what is called then has returned.
    pub(crate) fn wait_called(&self) {
        let table = self.emptied.wait_while(self.lock(), |table| !table.is_done());
        drop(table.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Table {
    fn is_done(&self) -> bool {
        self.reads.is_empty() && self.calling == 0
    }

    /// The read of this number, if it is under way.
    fn read(&mut self, number: u64) -> Option<&mut Read> {
        let place = self.place(number)?;
        self.reads.get_mut(place)
    }

    /// Where the read of this number is, if that place is still its own.
    fn place(&self, number: u64) -> Option<usize> {
        let (uses, place) = parts(number);
        (self.uses.get(place) == Some(&uses)).then_some(place)
    }
}

/// How often the place had been used, and the place.
fn parts(number: u64) -> (u32, usize) {
    let low = number & u64::from(u32::MAX);
    ((number >> 32) as u32, usize::try_from(low).unwrap_or(usize::MAX))
}
