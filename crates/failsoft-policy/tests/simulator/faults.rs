//! The faults of one run, drawn from its seed: crash, hang, resume, restart, failover, migration, all down.

use crate::model::{BLOCKS, Migration, Model, NODES, PRIMARIES, Up};
use failsoft_policy::Instant;
use std::time::Duration;

/// After this time without an answer the others count a node as failed.
pub(crate) const NODE_TIMEOUT: Duration = Duration::from_millis(1000);
/// The longest time that news of the configuration travel between nodes that run.
const GOSSIP: u64 = 50;
/// How long a primary that was replaced while it was away may serve what it has before it knows.
const UNAWARE: std::ops::Range<u64> = 300..1500;
/// How long two nodes may name each other as the owner after a migration.
const CONTRADICTION: std::ops::Range<u64> = 100..800;

/// What a fault does later.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn {
    /// A fault begins.
    Strike,
    /// A node that was unreachable all the time is counted as failed.
    Detect(usize, Instant),
    /// Its replica wins the vote.
    Elect(usize, Instant),
    /// A node returns.
    Return(usize),
    /// The key of a migrating block is at its new node.
    MoveKey,
    /// The block has its new owner.
    EndMigration,
}

pub(crate) struct Faults {
    /// No new fault begins after this; then everything heals.
    pub(crate) until: Instant,
}

impl Faults {
    /// Carries out a turn: what follows, and when.
    pub(crate) fn turn(
        &self,
        turn: Turn,
        model: &mut Model,
        rng: &mut fastrand::Rng,
        now: Instant,
    ) -> Vec<(Duration, Turn)> {
        let ms = Duration::from_millis;
        let mut next = Vec::new();
        match turn {
            Turn::Strike => {
                next.extend(self.strike(model, rng, now));
                let pause = ms(rng.u64(200..3000));
                if now + pause < self.until {
                    next.push((pause, Turn::Strike));
                }
            }
            Turn::Detect(n, since) if !model.running(n) && model.nodes[n].since == since => {
                if model.truth.owners.contains(&n) {
                    model.down = true;
                    next.push((ms(rng.u64(100..900)), Turn::Elect(n, since)));
                }
            }
            Turn::Elect(n, since) if !model.running(n) && model.nodes[n].since == since => {
                let alive = (0..NODES).filter(|&k| model.running(k) && model.truth.owners.contains(&k)).count();
                let owners = (0..NODES).filter(|k| model.truth.owners.contains(k)).count();
                let heir = (0..NODES).find(|&k| model.running(k) && model.truth.follows[k] == Some(n));
                if let (true, Some(heir)) = (2 * alive > owners, heir) {
                    model.promote(heir, n, now);
                    model.spread(now, || ms(rng.u64(1..GOSSIP)));
                    model.down = model
                        .truth
                        .owners
                        .iter()
                        .any(|&o| !model.running(o) && model.nodes[o].since + NODE_TIMEOUT <= now);
                } else {
                    next.push((ms(300), Turn::Elect(n, since)));
                }
            }
            Turn::Detect(..) | Turn::Elect(..) => {}
            Turn::Return(n) => {
                let node = &mut model.nodes[n];
                if node.up == Up::Down {
                    node.loading_until = now + ms(rng.u64(0..100));
                }
                node.up = Up::Running;
                node.since = now;
                // It serves what it has until it has heard the news.
                let unaware = model.truth.follows[n].is_some() && model.nodes[n].belief.follows[n].is_none();
                let delay = if unaware { UNAWARE } else { 1..GOSSIP };
                if model.nodes[n].belief.version < model.truth.version {
                    model.nodes[n].news = Some((now + ms(rng.u64(delay)), model.truth.clone()));
                }
                model.down &= model.truth.owners.iter().any(|&o| !model.running(o));
            }
            Turn::MoveKey => {
                if let Some(m) = &mut model.migration {
                    m.moved = true;
                    model.nodes[m.to].data[m.block] = std::mem::take(&mut model.nodes[m.from].data[m.block]);
                    next.push((ms(rng.u64(20..300)), Turn::EndMigration));
                }
            }
            Turn::EndMigration => {
                if let Some(m) = model.migration.take() {
                    model.truth.version += 1;
                    model.truth.owners[m.block] = m.to;
                    model.truth.epochs[m.to] = model.truth.epochs.iter().max().expect("there are nodes") + 1;
                    let before = model.nodes[m.to].belief.clone();
                    model.nodes[m.to].belief = model.truth.clone();
                    model.nodes[m.from].belief = model.truth.clone();
                    model.spread(now, || ms(rng.u64(1..GOSSIP)));
                    if rng.u8(0..3) == 0 {
                        model.contradicted = true;
                        model.nodes[m.to].belief = before;
                        model.nodes[m.to].news = Some((now + ms(rng.u64(CONTRADICTION)), model.truth.clone()));
                    }
                }
            }
        }
        next
    }

    fn strike(&self, model: &mut Model, rng: &mut fastrand::Rng, now: Instant) -> Vec<(Duration, Turn)> {
        let ms = Duration::from_millis;
        // A migration and a failure at once would need more of a model than this one is.
        if model.migration.is_some() || (0..NODES).any(|n| model.nodes[n].belief.version < model.truth.version) {
            return Vec::new();
        }
        let healthy = (0..NODES).all(|n| model.running(n)) && !model.down;
        match rng.u8(0..10) {
            0 | 1 if healthy => {
                let block = rng.usize(0..BLOCKS);
                let from = model.truth.owners[block];
                let others: Vec<usize> =
                    (0..NODES).filter(|&n| n != from && model.truth.follows[n].is_none()).collect();
                let to = others[rng.usize(0..others.len())];
                model.migration = Some(Migration { block, from, to, moved: false });
                vec![(ms(rng.u64(1..50)), Turn::MoveKey)]
            }
            2 => {
                let back = ms(rng.u64(300..2500));
                let up = if rng.bool() { Up::Hung } else { Up::Down };
                (0..NODES).flat_map(|n| fail(model, n, up, back, now)).collect()
            }
            _ => {
                let n = if rng.bool() { model.truth.owners[rng.usize(0..PRIMARIES)] } else { rng.usize(0..NODES) };
                let up = if rng.bool() { Up::Hung } else { Up::Down };
                let back = ms(rng.u64(50..4000));
                fail(model, n, up, back, now)
            }
        }
    }
}

fn fail(model: &mut Model, n: usize, up: Up, back: Duration, now: Instant) -> Vec<(Duration, Turn)> {
    if !model.running(n) {
        return Vec::new();
    }
    let demoted = model.truth.follows[n].is_some() && model.nodes[n].belief.follows[n].is_none();
    if demoted {
        // It would be a failure of a node that has not learned of its last one yet.
        return Vec::new();
    }
    model.nodes[n].up = up;
    model.nodes[n].failed_at = now;
    model.nodes[n].since = now;
    vec![(back, Turn::Return(n)), (NODE_TIMEOUT, Turn::Detect(n, now))]
}
