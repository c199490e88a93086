//! Takes the leases of a load, before its callback begins.

use crate::connection::Reply;
use crate::opener::Use;
use crate::scripts::{Ran, Run};
use crate::shared::Shared;
use bytes::Bytes;
use failsoft_policy::Turn;
use failsoft_policy::fleet::Came;
use failsoft_policy::lease::{Given, Missing, Step, Taken, Taking, lasts, token};
use failsoft_policy::miss::mark_is_news;
use failsoft_policy::read::Answer;
use failsoft_policy::route::batch_window;
use failsoft_policy::slot::slot_of;
use failsoft_policy::wire::{LEASE_SCRIPT, hold_name, lease_name, mark_name};
use futures_util::StreamExt;
use futures_util::stream;
use std::collections::HashMap;
use std::sync::Arc;

/// What came of the leases of a load.
#[derive(Default)]
pub(crate) struct Leases {
    pub(crate) came: Came,
    /// The keys that have a value again.
    pub(crate) found: HashMap<Bytes, Bytes>,
    /// The keys with the mark of an invalidation beside them.
    pub(crate) marked: Vec<Bytes>,
}

/// Takes them all, those of many keys as a batch reads them: so many at a time as a batch may have at a node.
pub(crate) async fn take(shared: &Shared, missing: Vec<Missing>) -> Leases {
    let window = if missing.len() > 1 { Some(batch_window(shared.config())) } else { None };
    let all = stream::iter(missing).map(|missing| async move {
        let member = window.and_then(|_| shared.table.load().member(missing.node).map(Arc::clone));
        let _room = match (&member, window) {
            (Some(member), Some(window)) => member.batches(window).acquire().await.ok(),
            _ => None,
        };
        let taken = take_one(shared, &missing).await;
        (missing, taken)
    });
    let mut leases = Leases::default();
    let mut all = std::pin::pin!(all.buffer_unordered(window.unwrap_or(1)));
    while let Some((missing, (taken, marked))) = all.next().await {
        leases.marked.extend(marked.then(|| missing.key.clone()));
        match taken {
            Taken::Leased(lease) => leases.came.taken.push((missing.key, Ok(lease))),
            Taken::Refused(cause) => leases.came.taken.push((missing.key, Err(cause))),
            Taken::Elsewhere(lease) => leases.came.elsewhere.push((missing, lease)),
            Taken::Found(value) => drop(leases.found.insert(missing.key, value)),
        }
    }
    leases
}

/// Gives whether there is a mark beside the key, too, that tells of what this process does not know.
async fn take_one(shared: &Shared, missing: &Missing) -> (Taken, bool) {
    let slot = slot_of(&missing.key);
    let token = token(shared.config(), fastrand::u64(..));
    let (begun, is_news) = shared.with_cluster(|cluster, now| {
        let turn = &mut Turn { cluster, now, dice: fastrand::u32(..) };
        let is_news = mark_is_news(turn.cluster.standing(slot, &missing.key, now));
        (Taking::begin(missing, (slot, Bytes::copy_from_slice(&token)), shared.config(), turn), is_news)
    });
    let (mut taking, time) = match begun {
        Ok(begun) => begun,
        Err(cause) => return (Taken::Refused(cause), false),
    };
    let lease = lease_name(slot, &missing.key);
    let lasts = lasts(shared.config()).as_millis().to_string();
    let mut arguments: Vec<&[u8]> = vec![&token, lasts.as_bytes()];
    arguments.extend(missing.over.is_some().then_some(&b"1"[..]));
    let (hold, mark) = (hold_name(slot, &missing.key), mark_name(slot, &missing.key));
    let keys: [&[u8]; 4] = [&lease, &missing.key, &hold, &mark];
    let mut run = Run { script: &LEASE_SCRIPT, keys: &keys, arguments: &arguments, asking: false, with_text: false };
    loop {
        let Ran { result, line, contact } = run.on(shared, (missing.node, Use::Owner), None, time).await;
        let (given, marked) = given(result);
        let step = shared.with_cluster(|cluster, now| {
            taking.on(line, given, contact, &mut Turn { cluster, now, dice: fastrand::u32(..) })
        });
        match step {
            Step::Again { with_text } => run.with_text = with_text,
            Step::Over(taken) => return (taken, marked && is_news),
        }
    }
}

/// What the script returned: the token and nil, nil and the value, or nil and nil; and whether there is a mark.
fn given(result: Result<Reply, Answer>) -> (Given, bool) {
    let parts = match result {
        Ok(Reply::Array(parts)) => <[Reply; 3]>::try_from(parts),
        Ok(_) => return (Given::Neither(Answer::Protocol), false),
        Err(answer) => return (Given::Neither(answer), false),
    };
    match parts {
        Ok([Reply::Value(token), Reply::Nil, marked]) => (Given::Token(token), is_one(&marked)),
        Ok([Reply::Nil, Reply::Value(value), _]) => (Given::Value(value), false),
        Ok([Reply::Nil, Reply::Nil, marked]) => (Given::Held, is_one(&marked)),
        _ => (Given::Neither(Answer::Protocol), false),
    }
}

fn is_one(reply: &Reply) -> bool {
    matches!(reply, Reply::Integer(1))
}
