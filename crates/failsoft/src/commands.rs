//! What a write says to a node: the words of its commands, and the keys and arguments of its scripts.

use crate::opener::Use;
use bytes::Bytes;
use failsoft_policy::Slot;
use failsoft_policy::lease::Lease;
use failsoft_policy::slot::slot_of;
use failsoft_policy::wire::{LOG_LENGTH, Mark, bell_name, echo_slot, hold_name, lease_name, mark_name};
use failsoft_policy::write::{Batch, Which};
use std::time::Duration;

/// A value to be written, or an invalidation. All that is sent is put together here once.
pub(crate) struct Message<'a> {
    /// The slot that it is sent to.
    pub(crate) slot: Slot,
    /// On which connection.
    pub(crate) on: Use,
    key: &'a [u8],
    value: &'a [u8],
    /// The lease that a fill needs.
    token: &'a [u8],
    /// The value that a fill replaces.
    over: Option<&'a [u8]>,
    /// How long the value or the mark lives, in milliseconds; empty for ever.
    lives: String,
    lease: Vec<u8>,
    hold: Vec<u8>,
    writer: Writer,
    note: Note,
    /// The fields and values of an entry of the log.
    fields: &'a [Bytes],
}

/// Who holds a key, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Writer {
    pub(crate) id: [u8; 16],
    pub(crate) lasts: Duration,
}

/// What is left of an invalidation.
#[derive(Default)]
struct Note {
    mark: Vec<u8>,
    bell: Vec<u8>,
    id: [u8; 16],
    epoch: String,
    /// What stands at the mark where no script writes it.
    text: Vec<u8>,
}

impl<'a> Message<'a> {
    /// Sets a value. `lease` is that of a fill.
    pub(crate) fn value(key: &'a [u8], value: &'a [u8], ttl: Option<Duration>, lease: Option<&'a Lease>) -> Self {
        let (slot, on) = (slot_of(key), Use::Owner);
        let token = lease.map_or(&[][..], |lease| &lease.token);
        let over = lease.and_then(|lease| lease.over.as_deref());
        let lives = ttl.map_or_else(String::new, milliseconds);
        let (lease, hold) = (lease_name(slot, key), hold_name(slot, key));
        let (writer, note) = (Writer::default(), Note::default());
        Self { slot, on, key, value, token, over, lives, lease, hold, writer, note, fields: &[] }
    }

    /// Adds an entry to the log, whose stream has this name and is in this slot.
    pub(crate) fn entry(slot: Slot, stream: &'a [u8], fields: &'a [Bytes]) -> Self {
        Self { slot, on: Use::Invalidations, fields, ..Self::value(stream, &[], None, None) }
    }

    /// Invalidates a key whose owner has this config epoch, under this id; the mark lives so long. `writer` is who holds
    /// it, or did.
    pub(crate) fn invalidation(key: &'a [u8], id: [u8; 16], epoch: u64, ttl: Duration, writer: Writer) -> Self {
        let slot = slot_of(key);
        let note = Note { id, epoch: epoch.to_string(), ..Note::default() };
        let (lease, hold) = (lease_name(slot, key), hold_name(slot, key));
        let (on, lives) = (Use::Invalidations, milliseconds(ttl));
        let (value, token, over, fields): (&[u8], &[u8], _, _) = (&[], &[], None, &[]);
        let message = Self { slot, on, key, value, token, over, lives, lease, hold, writer, note, fields };
        message.marked_in(slot, epoch)
    }

    /// The same in the slot of its echo.
    pub(crate) fn echo(self, epoch: u64) -> Self {
        let slot = echo_slot(self.slot);
        self.marked_in(slot, epoch)
    }

    /// The same marked in that slot.
    pub(crate) fn marked_in(mut self, slot: Slot, epoch: u64) -> Self {
        self.slot = slot;
        (self.note.mark, self.note.bell) = (mark_name(slot, self.key), bell_name(slot, &self.note.id, self.key));
        self.note.text = Mark { id: self.note.id, at: 0, epoch }.text();
        self
    }

    /// The commands of a batch, in their order.
    pub(crate) fn commands(&self, batch: Batch) -> Vec<Vec<&[u8]>> {
        let drop_lease = || vec![b"DEL".as_slice(), &self.lease];
        let delete = || vec![b"DEL".as_slice(), self.key];
        let marks = || {
            let Note { mark, bell, text, .. } = &self.note;
            let set = |name, value| vec![b"SET".as_slice(), name, value, b"PX", self.lives.as_bytes()];
            [set(mark, text), set(bell, b"1"), vec![b"DEL".as_slice(), bell]]
        };
        match batch {
            Batch::Set => {
                let mut set = vec![b"SET".as_slice(), self.key, self.value];
                if !self.lives.is_empty() {
                    set.extend([b"PX".as_slice(), self.lives.as_bytes()]);
                }
                vec![drop_lease(), set]
            }
            Batch::Delete => vec![drop_lease(), vec![b"DEL", &self.note.mark], delete(), delete()],
            Batch::DeleteAndMark => [drop_lease(), delete()].into_iter().chain(marks()).collect(),
            Batch::Mark => marks().into(),
            Batch::Lift => vec![vec![b"ZREM", &self.hold, &self.writer.id]],
            Batch::Log => {
                let mut add = vec![b"XADD".as_slice(), self.key, b"MAXLEN", b"~", LOG_LENGTH.as_bytes(), b"*"];
                add.extend(self.fields.iter().map(|field| &field[..]));
                vec![add]
            }
        }
    }

    /// How long a hold lasts, in milliseconds.
    pub(crate) fn hold_lasts(&self) -> String {
        milliseconds(self.writer.lasts)
    }

    /// The keys of a script, and its arguments; `lasts` is [`Self::hold_lasts`].
    pub(crate) fn script<'m>(&'m self, which: Which, lasts: &'m str) -> (Vec<&'m [u8]>, Vec<&'m [u8]>) {
        let Note { mark, bell, id, epoch, .. } = &self.note;
        let note = vec![id.as_slice(), epoch.as_bytes(), self.lives.as_bytes()];
        match which {
            Which::Put => (vec![&self.lease, self.key, &self.hold], vec![self.value, self.lives.as_bytes()]),
            Which::Lease | Which::Fill => {
                let arguments = [self.token, self.value, self.lives.as_bytes()];
                (vec![&self.lease, self.key, &self.hold], arguments.into_iter().chain(self.over).collect())
            }
            Which::Prolong => (vec![&self.lease], vec![self.token, self.lives.as_bytes()]),
            Which::Release => (vec![&self.lease], vec![self.token]),
            Which::Hold => (vec![&self.hold], vec![&self.writer.id, lasts.as_bytes()]),
            Which::Invalidate => (vec![&self.lease, self.key, mark, bell], note),
            Which::Mark => (vec![mark, bell], note),
        }
    }
}

fn milliseconds(time: Duration) -> String {
    time.as_millis().max(1).to_string()
}
