//! Prolongs leases while callbacks run, and releases those of which nothing came.

use crate::connection::Reply;
use crate::opener::Use;
use crate::scripts::{Ran, Run};
use crate::shared::Shared;
use bytes::Bytes;
use failsoft_policy::Turn;
use failsoft_policy::fleet::Keeping;
use failsoft_policy::lease::{Lease, lasts};
use failsoft_policy::read::Answer;
use failsoft_policy::route::batch_window;
use failsoft_policy::slot::slot_of;
use failsoft_policy::tend::{Tend, Tended, Tending};
use failsoft_policy::wire::lease_name;
use futures_util::StreamExt;
use futures_util::stream;
use std::sync::Arc;

/// Runs a callback, and prolongs the leases of its load meanwhile.
pub(crate) async fn keep<T>(shared: &Shared, keeping: Option<Keeping>, callback: impl Future<Output = T>) -> T {
    let mut callback = std::pin::pin!(callback);
    if let Some(keeping) = keeping {
        tokio::select! {
            biased;
            result = &mut callback => return result,
            () = prolong(shared, keeping) => {}
        }
    }
    callback.await
}

async fn prolong(shared: &Shared, mut keeping: Keeping) {
    while let Some(at) = keeping.next() {
        tokio::time::sleep_until(shared.opener.clock.std(at)).await;
        for (key, tended) in tend(shared, Tend::Prolong, keeping.due(shared.now())).await {
            if tended == Tended::Gone {
                keeping.lost(&key);
            }
        }
    }
}

/// Releases those of these leases that are to be released, in the background. A closed router leaves them to their time
/// to live.
pub(crate) fn release(shared: &Arc<Shared>, leases: Vec<(Bytes, Lease)>) {
    let kept: Vec<_> = leases.into_iter().filter(|(_, lease)| lease.kept).collect();
    if kept.is_empty() {
        return;
    }
    let ours = Arc::clone(shared);
    shared.spawn(async move {
        tend(&ours, Tend::Release, kept).await;
    });
}

/// Those of many keys as many at a time as a batch may have at a node.
async fn tend(shared: &Shared, what: Tend, leases: Vec<(Bytes, Lease)>) -> Vec<(Bytes, Tended)> {
    let all = stream::iter(leases).map(|(key, lease)| async move {
        let tended = tend_one(shared, what, &key, &lease).await;
        (key, tended)
    });
    all.buffer_unordered(batch_window(shared.config())).collect().await
}

async fn tend_one(shared: &Shared, what: Tend, key: &[u8], lease: &Lease) -> Tended {
    let (slot, node) = (slot_of(key), lease.lessor.node);
    let begun = shared.with_cluster(|cluster, now| {
        Tending::begin(what, lease, slot, shared.config(), &mut Turn { cluster, now, dice: fastrand::u32(..) })
    });
    let Some((mut tending, time)) = begun else { return Tended::Gone };
    let (name, lasts) = (lease_name(slot, key), lasts(shared.config()).as_millis().to_string());
    let arguments: &[&[u8]] = match what {
        Tend::Prolong => &[&lease.token, lasts.as_bytes()],
        Tend::Release => &[&lease.token],
    };
    let script = what.script().script();
    let mut run = Run { script, keys: &[&name], arguments, asking: false, with_text: false };
    loop {
        let Ran { result, contact, .. } = run.on(shared, (node, Use::Owner), Some(lease.lessor.line), time).await;
        let came = match result {
            Ok(Reply::Integer(number)) => Ok(number),
            Ok(_) => Err(Answer::Protocol),
            Err(answer) => Err(answer),
        };
        let tended = shared.with_cluster(|cluster, now| {
            tending.on(came, contact, &mut Turn { cluster, now, dice: fastrand::u32(..) })
        });
        match tended {
            Tended::Again { with_text } => run.with_text = with_text,
            over => return over,
        }
    }
}
