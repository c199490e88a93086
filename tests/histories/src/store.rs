//! The secondary store of all workers: a version for each key, on a Unix socket. Some of its answers come late.
//!
//! | request | answer |
//! |---|---|
//! | `P process` | none: who asks on this connection |
//! | `L id key` | `id version time`: read at that time, and answered perhaps later |
//! | `C id key from since` | `id version time`: the key has a new version since then; inside `writing`, from when the key may be held and since when it is, otherwise 0 |

use crate::clock::now;
use crate::event::Event;
use crate::record::Process;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::{Sender, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

#[derive(Debug)]
struct Versions {
    of: Vec<u64>,
    chance: fastrand::Rng,
}

/// Serves until it is dropped, and each worker until that is gone.
pub(crate) fn serve(path: &Path, keys: usize, seed: u64, events: Sender<Event>) -> std::io::Result<JoinSet<()>> {
    let listener = UnixListener::bind(path)?;
    let versions = Versions { of: vec![1; keys], chance: fastrand::Rng::with_seed(seed) };
    let versions = Arc::new(Mutex::new(versions));
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(attend(stream, Arc::clone(&versions), events.clone()));
        }
    });
    Ok(serving)
}

/// One worker. Whatever fails here, it is gone.
async fn attend(stream: UnixStream, versions: Arc<Mutex<Versions>>, events: Sender<Event>) {
    let (input, mut output) = stream.into_split();
    let (answers, mut to_write) = unbounded_channel::<String>();
    let writer = tokio::spawn(async move {
        while let Some(line) = to_write.recv().await
            && output.write_all(line.as_bytes()).await.is_ok()
        {}
    });
    let _ = answer(input, &versions, &answers, &events).await;
    drop(answers);
    let _ = writer.await;
}

async fn answer(
    input: OwnedReadHalf,
    versions: &Mutex<Versions>,
    answers: &UnboundedSender<String>,
    events: &Sender<Event>,
) -> Option<()> {
    let mut lines = BufReader::new(input).lines();
    let mut process: Process = 0;
    while let Some(line) = lines.next_line().await.ok()? {
        let mut words = line.split(' ');
        let kind = words.next()?;
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        let first = number()?;
        if kind == "P" {
            process = usize::try_from(first).ok()?;
            continue;
        }
        let key = usize::try_from(number()?).ok()?;
        let (version, at, late) = {
            let mut versions = versions.lock().unwrap_or_else(PoisonError::into_inner);
            let version = versions.of.get_mut(key)?;
            *version += u64::from(kind == "C");
            let (version, at) = (*version, now());
            (version, at, lateness(&mut versions.chance))
        };
        let text = format!("{first} {version} {at}\n");
        if kind == "C" {
            let held = Some((number()?, number()?)).filter(|&(from, _)| from > 0);
            events.send(Event::Commit { process, key, version, at, held }).await.ok()?;
            answers.send(text).ok()?;
        } else if late.is_zero() {
            answers.send(text).ok()?;
        } else {
            let answers = answers.clone();
            tokio::spawn(async move {
                tokio::time::sleep(late).await;
                // Who asked may be gone.
                let _ = answers.send(text);
            });
        }
    }
    Some(())
}

/// Most answers come at once, some while others change the key, and a few when nobody expects them any more.
fn lateness(chance: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(match chance.u8(..100) {
        0..60 => 0,
        60..85 => chance.u64(1..8),
        85..97 => chance.u64(8..80),
        _ => chance.u64(80..1_500),
    })
}
