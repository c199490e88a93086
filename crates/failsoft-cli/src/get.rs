//! `failsoft get`: one read, with its account.

use crate::{
    args::GetArgs,
    failure::Failure,
    output::{self, say},
    shell,
    stop::Stop,
    target,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use failsoft::{Error, Outcome, Router};
use serde::Serialize;
use std::{
    io::{self, IsTerminal as _},
    os::unix::ffi::OsStrExt as _,
    time::{Duration, Instant},
};

/// The exit code of a key that does not exist.
const NOT_FOUND: u8 = 1;

/// What `--json` prints for an outcome.
#[derive(Serialize)]
struct Account<'a> {
    found: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    served_by: &'static str,
    reason: Option<&'static str>,
    attempts: u32,
    coalesced: bool,
    node: Option<String>,
    age_ms: Option<f64>,
    took_ms: f64,
}

pub(crate) async fn run(args: GetArgs) -> Result<u8, Failure> {
    let mut stop = Stop::listen()?;
    tokio::select! {
        code = stop.wait() => Ok(code),
        done = connect_and_get(args) => done,
    }
}

async fn connect_and_get(args: GetArgs) -> Result<u8, Failure> {
    let router = target::connect(&args.target).await?;
    let started = Instant::now();
    let result = read(&router, &args).await;
    let took = started.elapsed();
    router.close().await;
    match result {
        Ok(outcome) => {
            let code = if outcome.value.is_some() { 0 } else { NOT_FOUND };
            show(&outcome, took, args.json)?;
            Ok(code)
        }
        Err(error) if args.json => output::problem(&error),
        Err(error) => Err(error.into()),
    }
}

async fn read(router: &Router, args: &GetArgs) -> Result<Outcome, Error> {
    let read = router.resolve(args.key.as_bytes());
    match args.fallback_cmd.clone() {
        Some(command) => read.fallback(move |key, reason| shell::load(command, key, reason)).await,
        None => read.await,
    }
}

fn show(outcome: &Outcome, took: Duration, json: bool) -> Result<(), Failure> {
    let node = outcome.node.as_ref().map(ToString::to_string);
    let took_ms = output::millis(took);
    let reason = outcome.reason.map(|reason| reason.as_str());
    if json {
        let text = outcome.value.as_deref().map(std::str::from_utf8);
        let bytes = outcome.value.as_deref().filter(|_| matches!(text, Some(Err(_))));
        return output::json(&Account {
            found: outcome.value.is_some(),
            value: text.and_then(Result::ok),
            value_base64: bytes.map(|bytes| STANDARD.encode(bytes)),
            served_by: outcome.served_by.as_str(),
            reason,
            attempts: outcome.attempts,
            coalesced: outcome.coalesced,
            node,
            age_ms: outcome.age.map(output::millis),
            took_ms,
        });
    }
    if let Some(value) = &outcome.value {
        output::bytes(value)?;
        // For the eye only: elsewhere the value is what was asked for, byte for byte.
        if io::stdout().is_terminal() {
            output::line("")?;
        }
    } else {
        say!("failsoft: no such key");
    }
    say!(
        "served_by={} reason={} attempts={} node={} age_ms={} took_ms={took_ms:.3}",
        outcome.served_by,
        reason.unwrap_or("-"),
        outcome.attempts,
        node.as_deref().unwrap_or("-"),
        outcome.age.map_or_else(|| "unknown".to_owned(), |age| format!("{:.3}", output::millis(age)))
    );
    Ok(())
}
