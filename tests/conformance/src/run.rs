//! Runs one scenario: its cluster, then its steps, for one binding or for several at once.

use crate::client::Client;
use crate::driver::Driver;
use crate::real::index;
use crate::scenario::{Migrate, Scenario, Step};
use crate::value::Text;
use crate::world::World;
use failsoft_testkit::{Cluster, Migration, slot_of};
use futures_util::future::join_all;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The time that one scenario may take.
const SCENARIO: Duration = Duration::from_secs(120);

/// What came of one scenario with one binding.
pub(crate) type Verdict = Result<(), String>;

/// Runs it for these bindings together, each with routers of its own on the one cluster.
pub(crate) async fn run(scenario: &Scenario, world: &World, drivers: &[Arc<Driver>]) -> Vec<Verdict> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut clients: Vec<_> = drivers
        .iter()
        .map(|driver| {
            let prefix = format!("s{}", NEXT.fetch_add(1, Ordering::Relaxed));
            Client::new(Arc::clone(driver), prefix, scenario.config.clone())
        })
        .collect();
    let mut verdicts: Vec<Verdict> = clients.iter().map(|_| Ok(())).collect();
    let work = steps(scenario, world, &mut clients, &mut verdicts);
    if tokio::time::timeout(SCENARIO, work).await.is_err() {
        for verdict in verdicts.iter_mut().filter(|verdict| verdict.is_ok()) {
            *verdict = Err(format!("not over after {SCENARIO:?}"));
        }
    }
    let ends = join_all(clients.iter_mut().map(Client::end)).await;
    verdicts.into_iter().zip(ends).map(|(verdict, end)| verdict.and(end)).collect()
}

async fn steps(scenario: &Scenario, world: &World, clients: &mut [Client], verdicts: &mut [Verdict]) {
    if scenario.open {
        let opened = join_all(clients.iter_mut().map(|client| client.open_main(world))).await;
        note(verdicts, opened, "opening the router");
    }
    let mut migration = None;
    for (number, step) in scenario.steps.iter().enumerate() {
        let place = format!("step {}", number + 1);
        let done = match step {
            Step::Migrate(migrate) => take_migrate(migrate, world, &mut migration).await.map(|()| true),
            step => world.take(step).await,
        };
        match done {
            Ok(true) => {}
            Ok(false) => {
                // One binding's failure does not end the others.
                let taken = clients.iter_mut().zip(verdicts.iter()).map(async |(client, verdict)| match verdict {
                    Ok(()) => client.take(step, world).await,
                    Err(_) => Ok(()),
                });
                let taken = join_all(taken).await;
                note(verdicts, taken, &place);
            }
            Err(why) => {
                let all = verdicts.iter().map(|_| Err(why.clone())).collect();
                return note(verdicts, all, &place);
            }
        }
    }
}

fn note(verdicts: &mut [Verdict], results: Vec<Verdict>, place: &str) {
    for (verdict, result) in verdicts.iter_mut().zip(results).filter(|(verdict, _)| verdict.is_ok()) {
        *verdict = result.map_err(|why| format!("{place}: {why}"));
    }
}

async fn take_migrate<'a>(
    migrate: &Migrate,
    world: &'a World,
    under_way: &mut Option<Migration<'a>>,
) -> Result<(), String> {
    let World::Real(servers) = world else { return Err("a migration needs real servers".to_owned()) };
    match migrate {
        Migrate::Begin { slot_of: key, from, to } => {
            *under_way = Some(begin(&servers.cluster, key, from, to).await?);
        }
        Migrate::MoveKeys => {
            let migration = under_way.as_ref().ok_or("no migration")?;
            while migration.move_keys(100).await.map_err(|e| e.to_string())? > 0 {}
        }
        Migrate::Finish => {
            under_way.take().ok_or("no migration")?.finish().await.map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

async fn begin<'a>(cluster: &'a Cluster, key: &Text, from: &str, to: &str) -> Result<Migration<'a>, String> {
    let slot = slot_of(key.bytes()?);
    cluster.begin_migration(slot, index(from)?, index(to)?).await.map_err(|e| e.to_string())
}
