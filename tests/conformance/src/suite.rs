//! The whole run: scripted scenarios side by side, real clusters one at a time.

use crate::driver::{Driver, Program};
use crate::real::{Real, Servers};
use crate::run::{self, Verdict};
use crate::scenario::{Scenario, Shape};
use crate::table::{Cell, Table};
use crate::world::World;
use failsoft_testkit::{Network, Server};
use futures_util::StreamExt as _;
use std::sync::Arc;

/// Scenarios on scripted nodes that run at once.
const AT_ONCE: usize = 6;

/// Runs every scenario against every binding. Without servers, only those on scripted nodes.
pub(crate) async fn run_all(
    scenarios: &[Scenario],
    drivers: &[Arc<Driver>],
    servers: &[String],
) -> Result<Table, String> {
    let mut table = Table::default();
    for cell in scripted(scenarios, drivers).await {
        let (scenario, driver, verdict) = cell;
        add(&mut table, scenario, &scenario.name, driver, verdict);
    }
    for (number, name) in servers.iter().enumerate() {
        let server = Server::find(Some(name)).map_err(|e| e.to_string())?;
        let mine = scenarios.iter().filter(|s| s.is_real() && (number == 0 || s.each_server));
        real(mine, drivers, name, &server, &mut table).await;
    }
    Ok(table)
}

/// Starts the drivers and runs everything.
pub(crate) async fn run(scenarios: &[Scenario], programs: &[Program], servers: &[String]) -> Result<Table, String> {
    let mut drivers = Vec::new();
    for program in programs {
        drivers.push(Arc::new(Driver::start(program).await?));
    }
    run_all(scenarios, &drivers, servers).await
}

/// Why a binding cannot be in a scenario.
fn cannot(scenario: &Scenario, driver: &Driver) -> Option<String> {
    scenario.needs().iter().find_map(|need| driver.cannot.get(*need).cloned())
}

fn add(table: &mut Table, scenario: &Scenario, name: &str, driver: &Driver, verdict: Verdict) {
    let cell = cannot(scenario, driver).map_or(Cell::Ran(verdict), Cell::Cannot);
    table.add(&scenario.theme, name, &driver.name, cell);
}

/// Each pair of scenario and binding with nodes of its own.
async fn scripted<'a>(
    scenarios: &'a [Scenario],
    drivers: &'a [Arc<Driver>],
) -> Vec<(&'a Scenario, &'a Driver, Verdict)> {
    let pairs = scenarios.iter().filter(|s| !s.is_real()).flat_map(|s| drivers.iter().map(move |d| (s, d)));
    let work = pairs.map(|(scenario, driver)| async move {
        let verdict = match World::scripted(&scenario.shape).await {
            _ if cannot(scenario, driver).is_some() => Ok(()),
            Ok(world) => run_one(scenario, &world, driver).await,
            Err(why) => Err(why),
        };
        (scenario, &**driver, verdict)
    });
    futures_util::stream::iter(work).buffered(AT_ONCE).collect().await
}

async fn run_one(scenario: &Scenario, world: &World, driver: &Arc<Driver>) -> Verdict {
    let mut verdicts = run::run(scenario, world, std::slice::from_ref(driver)).await;
    verdicts.pop().unwrap_or(Ok(()))
}

/// One cluster at a time; all bindings are on it at once, for its faults hit them all.
async fn real(
    scenarios: impl Iterator<Item = &Scenario>,
    drivers: &[Arc<Driver>],
    name: &str,
    server: &Server,
    table: &mut Table,
) {
    let no_hosts = no_hosts().await;
    let mut kept: Option<(Real, Arc<Servers>)> = None;
    for scenario in scenarios {
        let Shape::Real(shape) = &scenario.shape else { continue };
        let row = format!("{} [{name}]", scenario.name);
        if let Some(why) = no_hosts.as_ref().filter(|_| shape.hosts) {
            for driver in drivers {
                table.add(&scenario.theme, &row, &driver.name, Cell::NotChecked(why.clone()));
            }
            continue;
        }
        let servers = match kept.take() {
            Some((same, servers)) if same == *shape => Ok(servers),
            _ => Servers::start(shape, server).await.map(Arc::new),
        };
        let able: Vec<_> = drivers.iter().filter(|d| cannot(scenario, d).is_none()).cloned().collect();
        let verdicts = match &servers {
            Ok(servers) => on_servers(scenario, servers, &able).await,
            Err(why) => able.iter().map(|_| Err(why.clone())).collect(),
        };
        let mut verdicts = verdicts.into_iter();
        for driver in drivers {
            let verdict = if cannot(scenario, driver).is_some() { Ok(()) } else { verdicts.next().unwrap_or(Ok(())) };
            add(table, scenario, &row, driver, verdict);
        }
        if let (Ok(servers), false) = (servers, scenario.breaks_its_cluster()) {
            kept = Some((shape.clone(), servers));
        }
    }
}

/// With hosts, the clients are on one, too: drivers of their own for this scenario.
async fn on_servers(scenario: &Scenario, servers: &Arc<Servers>, drivers: &[Arc<Driver>]) -> Vec<Verdict> {
    let world = World::Real(Arc::clone(servers));
    let moved = match servers.words_for_clients() {
        Ok(words) if words.is_empty() => return run::run(scenario, &world, drivers).await,
        Ok(words) => start_behind(&words, drivers).await,
        Err(why) => Err(why),
    };
    match moved {
        Ok(moved) => run::run(scenario, &world, &moved).await,
        Err(why) => drivers.iter().map(|_| Err(why.clone())).collect(),
    }
}

async fn start_behind(words: &[String], drivers: &[Arc<Driver>]) -> Result<Vec<Arc<Driver>>, String> {
    let mut moved = Vec::new();
    for driver in drivers {
        moved.push(Arc::new(Driver::start(&driver.program.behind(words)).await?));
    }
    Ok(moved)
}

/// Why there can be no hosts here.
async fn no_hosts() -> Option<String> {
    match tokio::task::spawn_blocking(Network::available).await {
        Ok(available) => available.err().map(|e| e.to_string()),
        Err(e) => Some(e.to_string()),
    }
}
