//! Makes a cluster of empty nodes, and tells when a cluster has settled.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::{
    Error, Node, client,
    node::field,
    poll,
    view::{self, Line, SLOTS},
};

/// Slots for the primaries (`0..primaries`), meetings, replicas of primary `p` at
/// `primaries + p * replicas ..`, and then the wait until all of it is known everywhere.
pub(crate) async fn form(nodes: &[Node], primaries: usize, replicas: usize, deadline: Instant) -> Result<(), Error> {
    let left = || deadline.saturating_duration_since(Instant::now());
    for (index, node) in nodes[..primaries].iter().enumerate() {
        // Distinct epochs from the start spare the nodes the resolution of equal ones.
        ask(node, &["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]).await?;
        let boundary = |index: usize| (index * usize::from(SLOTS) / primaries) as u16;
        add_slots(node, boundary(index), boundary(index + 1)).await?;
    }
    for (index, node) in nodes.iter().enumerate() {
        // Everyone is introduced to everyone: waiting for gossip to do it takes seconds.
        for other in &nodes[index + 1..] {
            ask(node, &["CLUSTER", "MEET", &other.ip().to_string(), &other.port().to_string()]).await?;
        }
    }
    for index in primaries..nodes.len() {
        let primary = nodes[(index - primaries) / replicas].id();
        let what = format!("{} as a replica of {primary}", nodes[index].address());
        let node = &nodes[index];
        poll::until(&what, left(), || async {
            ask(node, &["CLUSTER", "REPLICATE", primary.as_str()]).await?;
            Ok(Some(()))
        })
        .await?;
    }
    settled(nodes, true, left()).await
}

/// Waits until the running nodes say `cluster_state:ok`, agree on who owns what, suspect none of each
/// other, and every running replica's link is up. `all`: the views hold exactly these nodes, too.
pub(crate) async fn settled(nodes: &[Node], all: bool, limit: Duration) -> Result<(), Error> {
    poll::until("a cluster that is up and agrees", limit, || async {
        let running: Vec<_> = nodes.iter().filter(|node| node.is_running()).collect();
        let ports: BTreeSet<_> = running.iter().map(|node| node.port()).collect();
        let mut agreed = None;
        for node in &running {
            if field(&node.text(&["CLUSTER", "INFO"]).await?, "cluster_state") != Some("ok") {
                return Ok(None);
            }
            let lines = lines_of(node).await?;
            let suspected = |line: &Line| ports.contains(&line.port) && (line.has("fail") || line.has("fail?"));
            if lines.iter().any(|line| suspected(line) || line.has("handshake")) || (all && lines.len() != nodes.len())
            {
                return Ok(None);
            }
            let owners = owners(lines);
            if agreed.get_or_insert_with(|| owners.clone()) != &owners || !replication_is_up(node, all).await? {
                return Ok(None);
            }
        }
        Ok((!running.is_empty()).then_some(()))
    })
    .await
}

/// The node's view of the cluster.
pub(crate) async fn lines_of(node: &Node) -> Result<Vec<Line>, Error> {
    let text = node.text(&["CLUSTER", "NODES"]).await?;
    view::parse(&text)
        .ok_or_else(|| Error::Reply { node: node.address(), what: format!("CLUSTER NODES cannot be read: {text}") })
}

/// What two views have to agree on: every primary with its slots, every replica with its primary.
fn owners(lines: Vec<Line>) -> Vec<Line> {
    let mut lines: Vec<_> = lines.into_iter().filter(|line| !line.has("fail") && !line.has("noaddr")).collect();
    for line in &mut lines {
        line.flags.retain(|flag| flag == "master" || flag == "slave");
        // A replica's line carries what it last heard of its primary's epoch.
        if line.primary.is_some() {
            line.epoch = 0;
        }
    }
    lines.sort_by(|a, b| a.id.cmp(&b.id));
    lines
}

async fn replication_is_up(node: &Node, all: bool) -> Result<bool, Error> {
    let info = node.info("replication").await?;
    match field(&info, "role") {
        Some("slave") => Ok(field(&info, "master_link_status") == Some("up")),
        // The replica may believe in its link a moment before the primary has it on its list.
        _ => Ok(!all || info.lines().filter(|l| l.starts_with("slave")).all(|l| l.contains("state=online"))),
    }
}

/// Gives a node the slots `first..end`.
async fn add_slots(node: &Node, first: u16, end: u16) -> Result<(), Error> {
    if node.server().at_least(7, 0) {
        return ask(node, &["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &(end - 1).to_string()]).await;
    }
    let slots: Vec<_> = (first..end).map(|slot| slot.to_string()).collect();
    let mut words = vec!["CLUSTER", "ADDSLOTS"];
    words.extend(slots.iter().map(String::as_str));
    ask(node, &words).await
}

async fn ask(node: &Node, words: &[&str]) -> Result<(), Error> {
    node.ask(words, client::LIMIT).await.map(drop)
}
