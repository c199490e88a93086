//! Waits for a condition: asks again until it holds or the time is up.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use crate::Error;

/// Between two questions. Servers on loopback answer in well under a millisecond.
const PAUSE: Duration = Duration::from_millis(20);

/// Calls `condition` until it gives a value. An error counts as "not yet"; the last one is named when
/// the time is up.
pub(crate) async fn until<T, F, Fut>(what: &str, limit: Duration, condition: F) -> Result<T, Error>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<Option<T>, Error>>,
{
    let started = Instant::now();
    loop {
        let last = match condition().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if started.elapsed() >= limit {
            let what = last.map_or(what.to_owned(), |error| format!("{what} (last: {error})"));
            return Err(Error::timeout(what, limit));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
