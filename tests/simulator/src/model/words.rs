//! What a node says of the cluster and of itself, as the policy's views and reports.

use super::{ADDRESSES, BLOCKS, MAX, MS, Model, NOBODY, Said, Set, Time, members};
use crate::net::Net;
use failsoft_policy::action::Answer;
use failsoft_policy::reply::classify;
use failsoft_policy::view::{ClusterInfo, NodeReport, Role, View, ViewNode};
use failsoft_policy::{Endpoint, Instant, Slot};
use std::time::Duration;

/// Slots of one block.
pub(crate) const BLOCK_WIDTH: u16 = Slot::COUNT / BLOCKS as u16;
/// All nodes share one host; their ports differ.
const HOST: &str = "h";
const FIRST_PORT: u16 = 7000;

/// Where an address listens.
pub(crate) fn endpoint(address: usize) -> Endpoint {
    Endpoint { host: HOST.into(), port: FIRST_PORT + address as u16 }
}

/// The address at an endpoint.
pub(crate) fn address(endpoint: &Endpoint) -> usize {
    usize::from(endpoint.port - FIRST_PORT).min(ADDRESSES - 1)
}

/// A node's id.
fn id_of(n: usize) -> String {
    const IDS: [&str; MAX] = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", "u", "v",
        "w", "x",
    ];
    IDS[n].into()
}

/// The node of an id.
pub(crate) fn number_of(id: &str) -> usize {
    id.bytes().next().map_or(0, |b| usize::from(b - b'a')).min(MAX - 1)
}

impl Model {
    /// `CLUSTER NODES` or, without epochs, `CLUSTER SHARDS`.
    pub(crate) fn view(&self, n: usize, asked_at: Instant, epochs: bool) -> View {
        let node = &self.nodes[n];
        let describe = |k: usize| {
            let replica = !node.is_primary(k);
            let mut slots: Vec<(u16, u16)> = Vec::new();
            for b in members(node.owned_by(k)).map(|b| b as u16) {
                let (first, last) = (b * BLOCK_WIDTH, (b + 1) * BLOCK_WIDTH - 1);
                match slots.last_mut() {
                    Some(range) if range.1 + 1 == first => range.1 = last,
                    _ => slots.push((first, last)),
                }
            }
            let shown = if replica { usize::from(node.follows[k]) } else { k };
            ViewNode {
                id: id_of(k),
                endpoint: Some(endpoint(self.nodes[k].address)),
                role: if replica { Role::Replica(Some(id_of(shown))) } else { Role::Primary },
                slots,
                epoch: epochs.then_some(u64::from(node.config_epoch[shown])),
                failed: node.fail & (1 << k) != 0,
                suspected: node.pfail & !node.fail & (1 << k) != 0,
            }
        };
        View {
            by: Some(id_of(n)),
            via: endpoint(node.address),
            asked_at,
            nodes: Some(members(node.known).map(describe).collect()),
            info: epochs.then(|| self.info(n)),
        }
    }

    /// `CLUSTER INFO`.
    fn info(&self, n: usize) -> ClusterInfo {
        let node = &self.nodes[n];
        let slots = |out: Set| {
            let blocks = node.owner.iter().filter(|o| **o != NOBODY && out & (1 << **o) != 0).count();
            Some(blocks as u32 * u32::from(BLOCK_WIDTH))
        };
        let shown = if node.is_primary(n) { n } else { usize::from(node.follows[n]) };
        ClusterInfo {
            ok: node.cluster_ok,
            slots_pfail: slots(node.pfail & !node.fail),
            slots_fail: slots(node.fail),
            current_epoch: Some(u64::from(node.current_epoch)),
            my_epoch: Some(u64::from(node.config_epoch[shown])),
        }
    }

    /// `INFO` and `CLUSTER INFO`.
    pub(crate) fn report(&mut self, net: &Net, n: usize, now: Time) -> NodeReport {
        if !self.nodes[n].is_primary(n) {
            self.copy(net, n, now);
        }
        let node = &self.nodes[n];
        let primary = node.is_primary(n);
        let info = self.info(n);
        let down = (!primary && !node.link.up).then(|| Duration::from_secs((now - node.link.since) / (1_000 * MS)));
        NodeReport {
            id: Some(id_of(n)),
            primary,
            cluster_ok: info.ok,
            my_epoch: info.my_epoch,
            current_epoch: info.current_epoch,
            slots_pfail: info.slots_pfail,
            slots_fail: info.slots_fail,
            loading: now < node.loading_until,
            offset: Some(u64::from(node.offset())),
            history: Some(u128::from(node.history())),
            link_up: (!primary).then_some(node.link.up),
            clients: self.setup.clients,
            link_down_for: down,
            ..NodeReport::default()
        }
    }
}

/// What a node's word means to a read or a write, by the policy's own table.
pub(crate) fn answer(said: Said, short_redirects: bool) -> Answer {
    let redirect = |word: &str, block: u8, at: u8| {
        let Endpoint { host, port } = endpoint(usize::from(at));
        let host = if short_redirects { String::new() } else { host };
        Answer::Error(classify(&format!("{word} {} {host}:{port}", slot_number(block))))
    };
    let line = match said {
        Said::Marked(0, _) => return Answer::Nil,
        Said::Value(_) | Said::Marked(..) | Said::Done | Said::Leased(_) => return Answer::Value,
        Said::Nil | Said::LeaseGone | Said::Exists | Said::Held => return Answer::Nil,
        Said::Moved(block, at) => return redirect("MOVED", block, at),
        Said::Asked(block, at) => return redirect("ASK", block, at),
        Said::TryAgain => "TRYAGAIN Multiple keys request during rehashing of slot",
        Said::Down => "CLUSTERDOWN The cluster is down",
        Said::NotServed => "CLUSTERDOWN Hash slot not served",
        Said::Loading => "LOADING Redis is loading the dataset in memory",
        Said::MasterDown => "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        Said::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
        Said::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.",
        Said::Garbage => return Answer::Protocol,
        Said::Denied => "NOPERM User default has no permissions to run the command",
    };
    Answer::Error(classify(line))
}

/// The slot of a block that all its keys are in.
pub(crate) fn slot_number(block: u8) -> u16 {
    u16::from(block) * BLOCK_WIDTH + BLOCK_WIDTH / 2
}
