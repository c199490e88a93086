//! `failsoft invalidate`: keys from the arguments or from standard input, and what of them is pending.

use crate::{
    args::InvalidateArgs,
    failure::Failure,
    lines::Lines,
    output::{self, say},
    stop::Stop,
    target,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use failsoft::{Error, Incomplete, MAX_STRING, Router};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{self, BufReader, Stdin},
    os::unix::ffi::OsStringExt as _,
    time::Instant,
};

/// The exit code when steps of some keys are pending.
const PENDING: u8 = 1;
/// How many keys are invalidated by one call: what is pending of them is told before the next ones are taken.
const BATCH: usize = 1_000;
/// How much of standard input is read at a time: some thousands of keys.
const BUFFER: usize = 256 * 1024;

/// What `--json` prints for a key that is not complete.
#[derive(Serialize)]
struct Lacks<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    pending: BTreeMap<&'static str, &'static str>,
}

/// What it prints last.
#[derive(Serialize)]
struct Sum {
    invalidated: usize,
    incomplete: usize,
    took_ms: f64,
}

pub(crate) async fn run(args: InvalidateArgs) -> Result<u8, Failure> {
    let mut stop = Stop::listen()?;
    tokio::select! {
        code = stop.wait() => Ok(code),
        done = connect_and_invalidate(args) => done,
    }
}

async fn connect_and_invalidate(args: InvalidateArgs) -> Result<u8, Failure> {
    let router = target::connect(&args.target).await?;
    let started = Instant::now();
    let mut keys = Keys::new(args.keys);
    let (mut invalidated, mut incomplete) = (0, 0);
    loop {
        let mut batch;
        (keys, batch) = keys.next().await?;
        if batch.is_empty() {
            break;
        }
        // Each counts once, as it does for the router.
        batch.sort_unstable();
        batch.dedup();
        match invalidate(&router, &batch).await {
            Ok(pending) => {
                pending.iter().try_for_each(|lacks| show(lacks, args.json))?;
                incomplete += pending.len();
                invalidated += batch.len() - pending.len();
            }
            Err(error) if args.json => return output::problem(&error),
            Err(error) => return Err(error.into()),
        }
    }
    router.close().await;
    let took_ms = output::millis(started.elapsed());
    if args.json {
        output::json(&Sum { invalidated, incomplete, took_ms })?;
    } else {
        say!("invalidated={invalidated} incomplete={incomplete} took_ms={took_ms:.3}");
    }
    Ok(if incomplete == 0 { 0 } else { PENDING })
}

/// What of these keys is pending.
async fn invalidate(router: &Router, keys: &[Vec<u8>]) -> Result<Vec<Incomplete>, Error> {
    match router.invalidate(keys).await {
        Ok(()) => Ok(Vec::new()),
        Err(Error::InvalidationIncomplete { pending }) => Ok(pending.to_vec()),
        Err(error) => Err(error),
    }
}

fn show(Incomplete { key, pending }: &Incomplete, json: bool) -> Result<(), Failure> {
    let pending = pending.steps().map(|(step, cause)| (step.as_str(), cause.as_str()));
    if json {
        let text = std::str::from_utf8(key);
        let key_base64 = text.is_err().then(|| STANDARD.encode(key));
        return output::json(&Lacks { key: text.ok(), key_base64, pending: pending.collect() });
    }
    let steps = pending.map(|(step, cause)| format!(" {step}={cause}")).collect::<String>();
    say!("failsoft: pending: {:?}{steps}", String::from_utf8_lossy(key));
    Ok(())
}

/// The keys of the arguments, with those of standard input where it is named.
struct Keys {
    arguments: std::vec::IntoIter<OsString>,
    /// While its lines are taken.
    lines: Option<Lines<BufReader<Stdin>>>,
}

impl Keys {
    fn new(arguments: Vec<OsString>) -> Self {
        Self { arguments: arguments.into_iter(), lines: None }
    }

    /// The next ones, at most a batch; none at the end. It may have to wait for them.
    async fn next(mut self) -> Result<(Self, Vec<Vec<u8>>), Failure> {
        tokio::task::spawn_blocking(move || {
            let batch = self.take()?;
            Ok((self, batch))
        })
        .await
        .map_err(|error| Failure::new(format!("standard input was not read: {error}")))?
    }

    fn take(&mut self) -> Result<Vec<Vec<u8>>, Failure> {
        loop {
            if let Some(lines) = &mut self.lines {
                let read = lines.take(BATCH);
                let batch = read.map_err(|error| Failure::new(format!("cannot read standard input: {error}")))?;
                if !batch.is_empty() {
                    return Ok(batch);
                }
                self.lines = None;
            }
            let mut batch = Vec::new();
            while batch.len() < BATCH {
                match self.arguments.next() {
                    Some(name) if name == "-" => {
                        self.lines = Some(Lines::new(BufReader::with_capacity(BUFFER, io::stdin()), MAX_STRING));
                        break;
                    }
                    Some(key) => batch.push(key.into_vec()),
                    None => return Ok(batch),
                }
            }
            // What the arguments name before it does not wait for the input.
            if !batch.is_empty() {
                return Ok(batch);
            }
        }
    }
}
