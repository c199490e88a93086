//! The endpoints that servers prefer for their nodes, kept: `CLUSTER NODES`, which alone has epochs, names plain
//! addresses, and `CLUSTER SHARDS`, which names the preferred ones, is the dearest question of all in a large cluster.

use failsoft_policy::Endpoint;
use failsoft_policy::view::ViewNode;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What is known of one node's names.
#[derive(Clone, Debug, Default)]
struct Name {
    /// Its address as `CLUSTER NODES` last had it beside the preferred endpoint; none before.
    address: Option<String>,
    preferred: Option<Endpoint>,
}

/// By node id; no more than the nodes of the last view.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<BTreeMap<String, Name>>);

impl Names {
    /// The preferred endpoints of all the nodes of a `CLUSTER NODES`; none if one of them is new or has another
    /// address than it had.
    pub(super) fn of(&self, nodes: &str) -> Option<BTreeMap<String, Endpoint>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = BTreeMap::new();
        for (id, address) in addresses(nodes) {
            let name = known.get(id).filter(|name| name.address.as_deref() == Some(address))?;
            if let Some(preferred) = &name.preferred {
                found.insert(id.to_owned(), preferred.clone());
            }
        }
        Some(found)
    }

    /// Keeps what a view without epochs named, beside the addresses of the `CLUSTER NODES` that it goes with, if one
    /// was asked for.
    pub(super) fn keep(&self, view: &[ViewNode], nodes: Option<&str>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next: BTreeMap<String, Name> = BTreeMap::new();
        for node in view {
            let address = known.remove(&node.id).and_then(|name| name.address);
            next.insert(node.id.clone(), Name { address, preferred: node.endpoint.clone() });
        }
        for (id, address) in nodes.into_iter().flat_map(addresses) {
            next.entry(id.to_owned()).or_default().address = Some(address.to_owned());
        }
        *known = next;
    }
}

/// Id and address of each line.
fn addresses(nodes: &str) -> impl Iterator<Item = (&str, &str)> {
    nodes.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?, words.next()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use failsoft_policy::view::Role;

    const NODES: &str = "a 10.0.0.1:7000@17000,one master - 0 0 1 connected 0-1\nb :7001@17001 slave a 0 0 1 connected";

    fn named(id: &str, host: Option<&str>) -> ViewNode {
        ViewNode {
            id: id.to_owned(),
            endpoint: host.map(|host| Endpoint { host: host.to_owned(), port: 7000 }),
            role: Role::Primary,
            slots: Vec::new(),
            epoch: None,
            failed: false,
            suspected: false,
        }
    }

    #[test]
    fn known_nodes_at_known_addresses_need_no_further_question() {
        let names = Names::default();
        assert_eq!(names.of(NODES), None, "nothing is known yet");
        names.keep(&[named("a", Some("one")), named("b", None)], Some(NODES));
        let known = names.of(NODES).expect("all are known");
        assert_eq!(known.keys().collect::<Vec<_>>(), ["a"], "a node without a preferred endpoint has its own");
        assert_eq!(known["a"].host, "one");
        assert_eq!(names.of(&NODES.replace("10.0.0.1", "10.0.0.9")), None, "it moved");
        assert_eq!(names.of(&NODES.replace("b :", "c :")), None, "a new node");
    }

    #[test]
    fn a_later_view_changes_what_is_preferred() {
        let names = Names::default();
        names.keep(&[named("a", Some("one")), named("b", None)], Some(NODES));
        names.keep(&[named("a", Some("uno")), named("b", None)], None);
        assert_eq!(names.of(NODES).expect("all are known")["a"].host, "uno");
        names.keep(&[named("a", Some("uno"))], None);
        assert_eq!(names.of(NODES), None, "b was forgotten");
    }
}
