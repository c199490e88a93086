//! Inside which loads a task runs: what a callback that asks for its own key is recognised by.
//!
//! Tasks that a callback spawns do not inherit it; for them `load_timeout` is the limit.

use crate::shared::Shared;
use failsoft_policy::flight::LoadId;
use std::sync::Arc;

/// One load, and the one outside it.
pub(crate) struct Frame {
    router: u64,
    load: LoadId,
    outer: Option<Arc<Frame>>,
    /// The load whose callback called this one's, on the same thread: it goes on only when this one returns, although
    /// nobody in it waits for this load.
    beneath: Option<Arc<Frame>>,
}

tokio::task_local! {
    static FRAME: Arc<Frame>;
}

impl Frame {
    pub(crate) fn inside(shared: &Shared, load: LoadId, outer: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self { router: shared.id, load, outer, beneath: None })
    }

    /// The same load, while its callback runs on the thread of another's.
    pub(crate) fn on_top_of(&self, beneath: Arc<Self>) -> Arc<Self> {
        let Self { router, load, outer, .. } = self;
        Arc::new(Self { router: *router, load: *load, outer: outer.clone(), beneath: Some(beneath) })
    }
}

/// The innermost load of any router that the current task runs in.
pub(crate) fn current() -> Option<Arc<Frame>> {
    FRAME.try_with(Arc::clone).ok()
}

/// The loads of this router that go on only when the caller does: the innermost one first.
pub(crate) fn held_up(frames: Option<&Arc<Frame>>, shared: &Shared) -> Vec<LoadId> {
    let mut loads = Vec::new();
    collect(frames, shared.id, &mut loads);
    loads
}

fn collect(mut frame: Option<&Arc<Frame>>, router: u64, loads: &mut Vec<LoadId>) {
    while let Some(f) = frame {
        let ours = f.router == router;
        if ours && loads.contains(&f.load) {
            return;
        }
        if ours {
            loads.push(f.load);
        }
        collect(f.beneath.as_ref(), router, loads);
        // What waits for the innermost one is known to the policy.
        if ours {
            return;
        }
        frame = f.outer.as_ref();
    }
}

/// Runs a future inside a load.
pub(crate) fn scope<F: Future>(frame: Arc<Frame>, future: F) -> impl Future<Output = F::Output> {
    FRAME.scope(frame, future)
}
