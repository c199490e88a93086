//! Failsoft with its defaults: timeouts, breakers, counters and all.

use super::measure::Reader;
use crate::{Problem, dataset::Entry};
use failsoft::Router;
use std::time::Duration;

/// How long the router may take to know the cluster.
const READY: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct Failsoft(Router);

/// As a user would make it.
pub(super) async fn connect(nodes: &[String]) -> Result<Failsoft, Problem> {
    let router = Router::builder(nodes).build()?;
    router.ready(READY).await?;
    Ok(Failsoft(router))
}

impl Reader for Failsoft {
    async fn read(&mut self, entry: &Entry) -> Result<(), Problem> {
        // Its error reaches the reader: a read that is no hit of the cluster ends the measurement.
        let fallback = |_, reason| async move { Err(format!("failsoft: a read was no hit ({reason:?})")) };
        let value = self.0.get_with_fallback(&entry.key, fallback).await?;
        if entry.is(value.as_deref()) { Ok(()) } else { Err("failsoft: a wrong value".into()) }
    }
}
