//! Keeps the time limits of loads.

use super::{Loaded, stop, tell_shed};
use crate::error::Error;
use crate::panics;
use crate::shared::Shared;
use crate::tending;
use failsoft_policy::Instant;
use std::sync::Arc;

/// Runs until the router closes. A limit is a `load_timeout` away when its load begins, so this sleeps through most
/// loads: it is woken only for one that is due earlier than what it sleeps for.
pub(crate) async fn keep_limits(shared: Arc<Shared>) {
    // A defect in one pass must not leave the next loads without a limit.
    let passes = || async {
        loop {
            pass(&shared).await;
        }
    };
    panics::supervised(passes, || shared.tally.panicked()).await;
}

async fn pass(shared: &Arc<Shared>) {
    let next = expire(shared);
    let sleep = async {
        match next {
            Some(at) => tokio::time::sleep_until(shared.opener.clock.std(at)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = shared.loads.earlier.notified() => {}
        () = sleep => {}
    }
}

/// Carries out the limits that are due; when the next one is.
fn expire(shared: &Arc<Shared>) -> Option<Instant> {
    let mut state = shared.loads.lock();
    let due = state.policy.expire(shared.now());
    for running in due.timed_out.iter().filter_map(|load| state.running.get(load)) {
        let limit = "load_timeout";
        running.done.send_replace(Some(Loaded::failed(Error::DeadlineExceeded { limit })));
    }
    let (running, results) = (state.take_running(&due.stop), state.take_results(&due.dropped));
    let shed = state.take_shed();
    shared.loads.adapt(&state);
    let released = state.policy.released();
    let next = state.policy.next_timeout();
    state.covered = next.unwrap_or(Instant::MAX);
    drop(state);
    // What they hold may call us when it is dropped.
    stop(running);
    drop(results);
    tell_shed(shared, shed);
    tending::release(shared, released);
    next
}
