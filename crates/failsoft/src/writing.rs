//! Invalidations with what goes around them: a hold that stays, or one around a transaction of the caller's own store.

use crate::commands::Writer;
use crate::error::{Error, Incomplete};
use crate::invalidations::{Holding, complete, invalidate};
use crate::router::Router;
use crate::shared::Shared;
use bytes::Bytes;
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// The shortest and the longest hold.
const HOLDS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(3600));

/// An invalidation that begins when it is awaited: [`Router::invalidate`].
#[must_use = "it begins when it is awaited"]
pub struct Invalidate<'r> {
    router: &'r Router,
    keys: Result<Vec<Bytes>, Error>,
    hold: Option<Duration>,
}

impl<'r> Invalidate<'r> {
    pub(crate) fn new(router: &'r Router, keys: Result<Vec<Bytes>, Error>) -> Self {
        Self { router, keys, hold: None }
    }

    /// For so long (1 ms to 1 h) nothing that is loaded of these keys is written back, by any process: for a secondary
    /// store that is read from copies which lag behind what was just written.
    pub fn hold(self, hold: Duration) -> Self {
        Self { hold: Some(hold), ..self }
    }
}

impl<'r> IntoFuture for Invalidate<'r> {
    type Output = Result<(), Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'r>>;

    fn into_future(self) -> Self::IntoFuture {
        let begun = self.keys.and_then(|keys| begin(self.router.shared(), &keys, self.hold));
        Box::pin(async move { begun?.await })
    }
}

impl fmt::Debug for Invalidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invalidate").field("hold", &self.hold).finish_non_exhaustive()
    }
}

/// Begins to invalidate these keys, and to hold them.
pub(crate) fn begin(
    shared: &Arc<Shared>,
    keys: &[Bytes],
    hold: Option<Duration>,
) -> Result<impl Future<Output = Result<(), Error>> + Send + use<>, Error> {
    let holding = match hold {
        None => Holding::No,
        Some(hold) if (HOLDS.0..=HOLDS.1).contains(&hold) => {
            Holding::Begins(Writer { id: shared.draw_id(), lasts: hold })
        }
        Some(hold) => {
            let problem = format!("{hold:?} is out of range; 1 ms to 1 h are allowed; leave it out for none");
            return Err(Error::InvalidArgument { argument: "hold", problem });
        }
    };
    let done = invalidate(shared, keys, holding)?;
    Ok(async move { complete(done.await?) })
}

/// A writer's hold of keys, around a transaction of its own store: [`Router::writing`]. Dropping it is the same as
/// [`Self::done`], without hearing of what came of it.
#[must_use = "it ends when it is dropped"]
pub struct Writing {
    shared: Arc<Shared>,
    keys: Vec<Bytes>,
    writer: Writer,
    ended: bool,
}

impl Writing {
    pub(crate) async fn begin(shared: &Arc<Shared>, keys: Vec<Bytes>) -> Result<Self, Error> {
        let writer = Writer { id: shared.draw_id(), lasts: shared.config().hold() };
        let begun = invalidate(shared, &keys, Holding::Begins(writer))?;
        // From here on it is ended, whatever happens.
        let writing = Self { shared: Arc::clone(shared), keys, writer, ended: false };
        let open = |incomplete: &Incomplete| !incomplete.pending.lets_write();
        complete(begun.await?.into_iter().filter(open).collect())?;
        Ok(writing)
    }

    /// The transaction is over, however it ended: the keys are invalidated, and this writer's hold is lifted.
    ///
    /// # Errors
    /// Those of [`Router::invalidate`].
    pub fn done(mut self) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        self.ended = true;
        // At once: from now on this process reads nothing older, also while the future waits for its first poll.
        let ending = invalidate(&self.shared, &self.keys, Holding::Ends(self.writer));
        async move { complete(ending?.await?) }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.ended {
            // A task of the router carries it out; if that was closed, the hold ends by itself.
            drop(invalidate(&self.shared, &self.keys, Holding::Ends(self.writer)));
        }
    }
}

impl fmt::Debug for Writing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writing").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}
