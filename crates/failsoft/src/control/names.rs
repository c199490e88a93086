//! The endpoints that servers prefer for their nodes, kept: `CLUSTER NODES`, which alone has epochs, names plain
//! addresses, and `CLUSTER SHARDS`, which names the preferred ones, is the dearest question of all in a large cluster.
//!
//! A preferred endpoint belongs to the address beside which it was named, not to the node: where a node has another
//! address now, the newer word is that one. And it is believed for one refresh interval, no longer, so that what one
//! lagging node said is asked again while something is wrong.

use failsoft_policy::{Endpoint, Instant};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What a server said of one node's addresses beside the endpoint that it prefers. Unset is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) ip: Option<String>,
    /// Empty if it has none.
    pub(super) hostname: Option<String>,
    /// The plain port and the one for TLS.
    pub(super) ports: [Option<u16>; 2],
    pub(super) preferred: Option<Endpoint>,
}

/// One node's addresses in `CLUSTER NODES`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) ip: String,
    pub(super) hostname: String,
    pub(super) port: u16,
}

impl Name {
    /// Whether it was said of a node at this address.
    fn is_of(&self, address: &Address) -> bool {
        self.ip.as_ref().is_none_or(|ip| *ip == address.ip)
            && self.hostname.as_ref().is_none_or(|name| *name == address.hostname)
            && self.ports.contains(&Some(address.port))
    }

    /// A node that nothing else was said of than its address.
    fn plain(address: &Address) -> Self {
        let Address { ip, hostname, port } = address.clone();
        Self { ip: Some(ip), hostname: Some(hostname), ports: [Some(port), None], preferred: None }
    }
}

/// By node id; no more than the nodes of the last view.
#[derive(Debug)]
pub(super) struct Names {
    lifetime: Duration,
    kept: Mutex<(BTreeMap<String, Name>, Option<Instant>)>,
}

impl Names {
    /// `lifetime`: how long names are believed.
    pub(super) fn new(lifetime: Duration) -> Self {
        Self { lifetime, kept: Mutex::default() }
    }

    /// The preferred endpoints of nodes at these addresses, as far as they are known; and whether that will do, or the
    /// names are to be asked for again.
    pub(super) fn of(&self, nodes: &BTreeMap<String, Address>, now: Instant) -> (BTreeMap<String, Endpoint>, bool) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, renewed) = &*kept;
        let mut will_do = renewed.is_some_and(|at| now.since(at) < self.lifetime);
        let mut found = BTreeMap::new();
        for (id, address) in nodes {
            match known.get(id).filter(|name| name.is_of(address)) {
                Some(name) => found.extend(name.preferred.clone().map(|at| (id.clone(), at))),
                None => will_do = false,
            }
        }
        (found, will_do)
    }

    /// Keeps what a view without epochs named. Nodes that `nodes`, which was asked for with it, has elsewhere are
    /// there, under no other name.
    pub(super) fn keep(&self, names: BTreeMap<String, Name>, nodes: &BTreeMap<String, Address>, now: Instant) {
        let mut next = names;
        for (id, address) in nodes {
            if !next.get(id).is_some_and(|name| name.is_of(address)) {
                next.insert(id.clone(), Name::plain(address));
            }
        }
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = (next, Some(now));
    }

    /// Keeps what is known of these nodes: it was asked for, and nothing was said.
    pub(super) fn renew(&self, nodes: &BTreeMap<String, Address>, now: Instant) {
        let known = self.kept.lock().unwrap_or_else(PoisonError::into_inner).0.clone();
        self.keep(known, nodes, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(15);

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn nodes(of: &[(&str, &str, &str)]) -> BTreeMap<String, Address> {
        let address = |ip: &str, name: &str| Address { ip: ip.to_owned(), hostname: name.to_owned(), port: 7000 };
        of.iter().map(|(id, ip, name)| ((*id).to_owned(), address(ip, name))).collect()
    }

    fn names(of: &[(&str, &str, &str)]) -> BTreeMap<String, Name> {
        let name = |ip: &str, host: &str| Name {
            ip: Some(ip.to_owned()),
            hostname: Some(host.to_owned()),
            ports: [Some(7000), Some(8000)],
            preferred: Some(Endpoint { host: if host.is_empty() { ip } else { host }.to_owned(), port: 8000 }),
        };
        of.iter().map(|(id, ip, host)| ((*id).to_owned(), name(ip, host))).collect()
    }

    fn hosts(found: &BTreeMap<String, Endpoint>) -> Vec<(&str, &str)> {
        found.iter().map(|(id, at)| (id.as_str(), at.host.as_str())).collect()
    }

    #[test]
    fn known_nodes_at_known_addresses_need_no_further_question_for_a_while() {
        let kept = Names::new(LIFETIME);
        let there = nodes(&[("a", "10.0.0.1", "one"), ("b", "10.0.0.2", "")]);
        assert!(!kept.of(&there, at(0)).1, "nothing is known yet");
        kept.keep(names(&[("a", "10.0.0.1", "one"), ("b", "10.0.0.2", "")]), &BTreeMap::new(), at(0));
        let (found, will_do) = kept.of(&there, at(14));
        assert!(will_do);
        assert_eq!(hosts(&found), [("a", "one"), ("b", "10.0.0.2")]);
        assert_eq!(found["a"].port, 8000, "the preferred one, though the nodes name the other");
        let (found, will_do) = kept.of(&there, at(15));
        assert!(!will_do, "they are to be asked for again");
        assert_eq!(found.len(), 2, "and hold until then");
        let more = nodes(&[("a", "10.0.0.1", "one"), ("b", "10.0.0.2", ""), ("c", "10.0.0.3", "")]);
        assert!(!kept.of(&more, at(1)).1, "a new node");
    }

    #[test]
    fn a_name_is_of_an_address_not_of_a_node() {
        let kept = Names::new(LIFETIME);
        let there = nodes(&[("a", "10.0.0.1", "")]);
        // A lagging node names an old address once.
        kept.keep(names(&[("a", "10.0.0.9", "")]), &BTreeMap::new(), at(0));
        let (found, will_do) = kept.of(&there, at(1));
        assert_eq!((hosts(&found), will_do), (vec![], false));
        // It does so again when it is asked again: the newer word on where it is stands, without another question.
        kept.keep(names(&[("a", "10.0.0.9", "")]), &there, at(1));
        let (found, will_do) = kept.of(&there, at(2));
        assert_eq!((hosts(&found), will_do), (vec![], true));
        kept.keep(names(&[("a", "10.0.0.1", "uno")]), &BTreeMap::new(), at(3));
        assert!(!kept.of(&there, at(3)).1, "it has got a host name since");
        assert_eq!(hosts(&kept.of(&nodes(&[("a", "10.0.0.1", "uno")]), at(3)).0), [("a", "uno")]);
    }

    #[test]
    fn what_a_server_does_not_say_is_no_contradiction() {
        let kept = Names::new(LIFETIME);
        let preferred = Some(Endpoint { host: "one".to_owned(), port: 7000 });
        let name = Name { ip: None, hostname: None, ports: [Some(7000), None], preferred };
        kept.keep(BTreeMap::from([("a".to_owned(), name)]), &BTreeMap::new(), at(0));
        assert_eq!(hosts(&kept.of(&nodes(&[("a", "10.0.0.1", "one")]), at(1)).0), [("a", "one")]);
    }
}
