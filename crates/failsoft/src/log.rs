//! Writes the log of invalidations, after them: nobody waits for it.

use crate::commands::Message;
use crate::error::Error;
use crate::shared::Shared;
use crate::writes;
use bytes::Bytes;
use failsoft_policy::invalidations::Id;
use failsoft_policy::log::Note;
use failsoft_policy::write::Write;
use futures_util::future::join_all;

/// Leaves these entries of the invalidation of this id. What is not written is counted.
pub(crate) async fn write(shared: &Shared, notes: Vec<Note>, id: Id) {
    let all = join_all(notes.into_iter().map(|note| write_one(shared, note, id))).await;
    let lost = all.into_iter().filter(|written| !matches!(written, Ok(Ok(())))).count();
    shared.tally.unlogged(lost);
}

async fn write_one(shared: &Shared, note: Note, id: Id) -> Result<Result<(), failsoft_policy::write::Cause>, Error> {
    let text = Bytes::from_static;
    let mut fields = vec![text(b"v"), text(b"1"), text(b"id"), Bytes::copy_from_slice(&id)];
    if let Some(name) = shared.config().client_name() {
        fields.extend([text(b"by"), Bytes::copy_from_slice(name.as_bytes())]);
    }
    fields.extend([text(b"n"), note.count.to_string().into()]);
    fields.extend(note.keys.into_iter().flat_map(|key| [text(b"k"), key]));
    let (slot, name) = (note.stream.slot(), note.stream.name());
    let mut entry = Write::log(shared.config(), slot, shared.now() + shared.config().deadline());
    writes::run(shared, &mut entry, &Message::entry(slot, &name, &fields)).await
}
