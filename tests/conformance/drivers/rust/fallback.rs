//! The callbacks of the Rust driver: one value describes what a callback does.

use crate::Lines;
use crate::protocol::{Blob, Fallback, FromDriver};
use failsoft::{Bytes, Error, Reason, Router};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// Values for some of the keys that were asked for.
pub(crate) type Loading = Pin<Box<dyn Future<Output = Result<HashMap<Bytes, Bytes>, BoxError>> + Send>>;

/// A value for the one key, if it exists.
type LoadingOne = Pin<Box<dyn Future<Output = Result<Option<Bytes>, BoxError>> + Send>>;

/// What callbacks of one router share.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) router: Router,
    pub(crate) lines: Lines,
    /// Counts the releases.
    pub(crate) releases: Arc<watch::Sender<u64>>,
}

/// Tells the runner when a callback ends before it is done.
struct Watched {
    place: Place,
    done: bool,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.done && !std::thread::panicking() {
            let _ = self.place.lines.send(FromDriver::Cancelled { router: self.place.name.clone() });
        }
    }
}

/// Runs a callback for these keys.
pub(crate) async fn run(
    place: Place,
    behaviour: Fallback,
    keys: Vec<Bytes>,
    reason: Option<Reason>,
) -> Result<HashMap<Bytes, Bytes>, BoxError> {
    let mut watched = Watched { place: place.clone(), done: false };
    let started = FromDriver::Started {
        router: place.name.clone(),
        keys: keys.iter().map(|key| Blob(key.to_vec())).collect(),
        reason: reason.map(|reason| reason.as_str().to_owned()),
    };
    // Before the runner hears of it: its `release` may come at once.
    let releases = place.releases.subscribe();
    // The runner is gone if this fails, and so is this process, soon.
    let _ = place.lines.send(started);
    let result = act(place, behaviour, keys, releases).await;
    watched.done = true;
    result
}

fn act(place: Place, behaviour: Fallback, keys: Vec<Bytes>, mut releases: watch::Receiver<u64>) -> Loading {
    Box::pin(async move {
        match behaviour {
            Fallback::Value(value) => Ok(keys.into_iter().map(|key| (key, Bytes::from(value.0.clone()))).collect()),
            Fallback::Echo {} => Ok(keys.into_iter().map(echo).collect()),
            Fallback::Missing {} => Ok(HashMap::new()),
            Fallback::Mapping(pairs) => {
                Ok(pairs.into_iter().map(|(key, value)| (Bytes::from(key.0), Bytes::from(value.0))).collect())
            }
            Fallback::Error(text) => Err(text.into()),
            Fallback::Panic(text) => panic!("{text}"),
            Fallback::WrongType {} => Err("no such callback can be written in Rust".into()),
            Fallback::Never {} => std::future::pending().await,
            Fallback::Hold(then) => {
                // An error would mean that the sender is gone, and `place` holds it.
                let _ = releases.changed().await;
                act(place, *then, keys, releases).await
            }
            Fallback::Slow { ms, then } => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                act(place, *then, keys, releases).await
            }
            Fallback::Ask { key, fallback } => {
                let asked = one(&place, *fallback);
                let value = place.router.get_with_fallback(key.0, asked).await.map_err(inner)?;
                Ok(value.into_iter().flat_map(|v| keys.iter().map(move |key| (key.clone(), v.clone()))).collect())
            }
            Fallback::Invalidate { keys: others, then } => {
                place.router.invalidate(others.into_iter().map(|key| key.0)).await.map_err(inner)?;
                act(place, *then, keys, releases).await
            }
        }
    })
}

/// A callback for one key.
pub(crate) fn one(place: &Place, behaviour: Fallback) -> impl FnOnce(Bytes, Reason) -> LoadingOne + Send + use<> {
    let place = place.clone();
    move |key, reason| {
        Box::pin(async move {
            let loaded = run(place, behaviour, vec![key.clone()], Some(reason)).await?;
            Ok(loaded.get(&key).cloned())
        })
    }
}

fn echo(key: Bytes) -> (Bytes, Bytes) {
    let value = [b"loaded:", &key[..]].concat();
    (key, value.into())
}

/// What a callback fails with when its own call fails; a language that hands errors through shows their code.
fn inner(error: Error) -> BoxError {
    format!("{}: {error}", error.code()).into()
}
