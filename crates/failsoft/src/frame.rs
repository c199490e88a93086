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
}

tokio::task_local! {
    static FRAME: Arc<Frame>;
}

impl Frame {
    pub(crate) fn inside(shared: &Shared, load: LoadId, outer: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self { router: shared.id, load, outer })
    }
}

/// The innermost load of any router that the current task runs in.
pub(crate) fn current() -> Option<Arc<Frame>> {
    FRAME.try_with(Arc::clone).ok()
}

/// The innermost load of this router.
pub(crate) fn innermost(frames: Option<&Arc<Frame>>, shared: &Shared) -> Option<LoadId> {
    let mut frame = frames;
    while let Some(f) = frame {
        if f.router == shared.id {
            return Some(f.load);
        }
        frame = f.outer.as_ref();
    }
    None
}

/// Runs a future inside a load.
pub(crate) fn scope<F: Future>(frame: Arc<Frame>, future: F) -> impl Future<Output = F::Output> {
    FRAME.scope(frame, future)
}
