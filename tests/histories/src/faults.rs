//! What is done to the nodes, one fault at a time; each is over, and the cluster whole, before the next one.

use crate::promise::EdgeKind;
use crate::services::name;
use crate::stage::{Stage, pause};
use failsoft_testkit::{Cluster, Error, Flavour, Role, Server, slot_of};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a promotion may take on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill,
    Empty,
    KillReplica,
    Hang,
    HangLong,
    HangReplica,
    Lose,
    Failover,
    MoveByHand,
    MoveAtOnce,
    Cut,
}

impl Fault {
    /// Those first that lose most.
    const ALL: [Self; 11] = [
        Self::Lose,
        Self::HangLong,
        Self::MoveByHand,
        Self::MoveAtOnce,
        Self::Hang,
        Self::Kill,
        Self::Cut,
        Self::Empty,
        Self::Failover,
        Self::KillReplica,
        Self::HangReplica,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "primary killed",
            Self::Empty => "primary started again without its data",
            Self::KillReplica => "replica killed",
            Self::Hang => "primary hung",
            Self::HangLong => "primary hung until another was promoted",
            Self::HangReplica => "replica hung",
            Self::Lose => "acknowledged writes lost",
            Self::Failover => "failover by hand",
            Self::MoveByHand => "slot moved by hand",
            Self::MoveAtOnce => "slot moved at once",
            Self::Cut => "listening connections cut",
        }
    }

    /// Those that a server can be given.
    pub(crate) fn of(server: &Server) -> Vec<Self> {
        let at_once = server.version().0 == Flavour::Valkey && server.at_least(9, 0);
        Self::ALL.into_iter().filter(|&fault| fault != Self::MoveAtOnce || at_once).collect()
    }
}

/// One fault after the other until it is told to stop: in their order at first, so that a short run has those, then each
/// once before any comes again.
pub(crate) async fn run(
    stage: &Stage,
    faults: Vec<Fault>,
    stop: &AtomicBool,
    mut chance: fastrand::Rng,
) -> Result<(), Error> {
    let mut left: Vec<_> = faults.iter().rev().copied().collect();
    while !stop.load(Ordering::Relaxed) {
        if left.is_empty() {
            left.clone_from(&faults);
            chance.shuffle(&mut left);
        }
        let Some(fault) = left.pop() else { return Ok(()) };
        pause(&mut chance, 200, 1_500).await;
        let _alone = stage.nodes.lock().await;
        match act(stage, fault, &mut chance).await {
            Ok(()) => stage.count(fault.as_str()),
            Err(error) => stage.in_vain(fault.as_str(), &error).await,
        }
        stage.heal().await?;
        stage.say("all is whole again".to_owned()).await;
    }
    Ok(())
}

async fn act(stage: &Stage, fault: Fault, chance: &mut fastrand::Rng) -> Result<(), Error> {
    let cluster = &stage.cluster;
    let shards = stage.shards().await?;
    let Some(&(primary, replica)) = chance.choice(&shards) else { return Ok(()) };
    let say = async |what: &str, node: usize| {
        stage.say(format!("{}: {what} {}", fault.as_str(), cluster.node(node).address())).await;
    };
    match fault {
        Fault::Kill => {
            say("SIGKILL", primary).await;
            cluster.kill(primary).await?;
            cluster.wait_promoted(replica, LIMIT).await
        }
        Fault::Empty => {
            let edge = stage.open(EdgeKind::Emptied, primary).await?;
            say("SIGKILL and start", primary).await;
            cluster.kill(primary).await?;
            let result = cluster.restart(primary).await;
            stage.close(edge).await;
            result
        }
        Fault::KillReplica => {
            say("SIGKILL", replica).await;
            cluster.kill(replica).await?;
            pause(chance, 100, 3_000).await;
            Ok(())
        }
        Fault::Hang | Fault::HangReplica => {
            let node = if fault == Fault::Hang { primary } else { replica };
            say("SIGSTOP", node).await;
            cluster.hang(node)?;
            pause(chance, 50, if fault == Fault::Hang { 1_000 } else { 3_000 }).await;
            say("SIGCONT", node).await;
            cluster.resume(node)
        }
        Fault::HangLong => {
            let thawed = stage.open(EdgeKind::Thawed, primary).await?;
            let lost = stage.open(EdgeKind::Lost, primary).await?;
            say("SIGSTOP", primary).await;
            cluster.hang(primary)?;
            let result = thaw(stage, primary, replica).await;
            stage.close(thawed).await;
            stage.close(lost).await;
            result
        }
        Fault::Lose => {
            let lost = stage.open(EdgeKind::Lost, primary).await?;
            say("parted from its replica:", primary).await;
            cluster.part(primary, replica).await?;
            pause(chance, 100, 1_500).await;
            say("SIGKILL", primary).await;
            cluster.kill(primary).await?;
            let result = cluster.wait_promoted(replica, LIMIT).await;
            stage.close(lost).await;
            result
        }
        Fault::Failover => {
            say("to", replica).await;
            cluster.failover(replica).await
        }
        Fault::MoveByHand | Fault::MoveAtOnce => {
            let slot = slot_of(name(chance.usize(..stage.keys)));
            let from = cluster.owner_of(slot).await?;
            let others: Vec<_> = shards.iter().map(|shard| shard.0).filter(|&other| other != from).collect();
            let Some(&to) = chance.choice(&others) else { return Ok(()) };
            say(&format!("{slot} to"), to).await;
            if fault == Fault::MoveByHand {
                let migration = cluster.begin_migration(slot, from, to).await?;
                pause(chance, 20, 800).await;
                migration.move_keys(2).await?;
                pause(chance, 20, 800).await;
                migration.finish().await
            } else {
                let words = ["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", &slot.to_string(), &slot.to_string(), "NODE"];
                cluster.command(from, &[&words[..], &[&cluster.node(to).id()]].concat()).await?;
                let moved = async || cluster.owner_of(slot).await.ok() == Some(to);
                eventually(moved, LIMIT).await;
                Ok(())
            }
        }
        Fault::Cut => {
            say("CLIENT KILL at", primary).await;
            let mut ids = listeners(cluster, primary).await?;
            ids.retain(|_| chance.bool());
            cut(cluster, primary, &ids).await;
            Ok(())
        }
    }
}

/// Lets a primary go on once another node has its slots, and waits until it knows.
async fn thaw(stage: &Stage, primary: usize, replica: usize) -> Result<(), Error> {
    stage.cluster.wait_promoted(replica, LIMIT).await?;
    stage.say(format!("SIGCONT {}", stage.cluster.node(primary).address())).await;
    stage.cluster.resume(primary)?;
    let demoted = async || stage.cluster.role(primary).await.ok() == Some(Role::Replica);
    eventually(demoted, LIMIT).await;
    Ok(())
}

/// The connections to a node on which routers listen, or on which near copies are tracked.
pub(crate) async fn listeners(cluster: &Cluster, node: usize) -> Result<Vec<String>, Error> {
    let listed = cluster.command(node, &["CLIENT", "LIST"]).await?;
    let listed: String = redis::from_redis_value(listed).unwrap_or_default();
    let id = |client: &str| {
        let field = |name: &str| client.split(' ').find_map(|part| part.strip_prefix(name));
        let id = field("id=").map(str::to_owned);
        id.filter(|_| field("flags=").is_some_and(|flags| flags.contains('t')))
    };
    Ok(listed.lines().filter_map(id).collect())
}

/// Cuts connections. One may have ended by itself.
pub(crate) async fn cut(cluster: &Cluster, node: usize, ids: &[String]) {
    for id in ids {
        let _ = cluster.command(node, &["CLIENT", "KILL", "ID", id]).await;
    }
}

/// Until it holds, or the limit is over; what comes of that shows afterwards, when all has to be whole.
async fn eventually(mut holds: impl AsyncFnMut() -> bool, limit: Duration) {
    let waited = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let _ = tokio::time::timeout(limit, waited).await;
}
