//! A view's nodes and ours: who is who, and whose role, epoch and address are taken over.

use crate::nodes::{Node, Nodes};
use crate::view::{Role, View, ViewNode};
use crate::words::{Endpoint, NodeKey};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;

/// The nodes of a view, as they were bound.
pub(super) struct Bound<'v> {
    /// Their names by their ids.
    pub(super) keys: BTreeMap<&'v str, NodeKey>,
    /// Whether anything changed.
    pub(super) changed: bool,
    /// Whose addresses others have taken.
    pub(super) displaced: BTreeSet<NodeKey>,
    /// Who listens elsewhere now, and where each was before.
    pub(super) moved: BTreeMap<NodeKey, Endpoint>,
}

/// Finds or adds the view's nodes and takes over their roles and addresses, unless what is known of
/// a node carries a higher epoch. `best` says that nothing better than this view can be had.
pub(super) fn bind<'v>(
    nodes: &mut Nodes,
    mut known: BTreeMap<String, NodeKey>,
    view: &View,
    seen: &'v [ViewNode],
    owners: &BTreeSet<NodeKey>,
    best: bool,
) -> Bound<'v> {
    let mut changed = false;
    let mut keys = BTreeMap::new();
    let mut moved = BTreeMap::new();
    let (places, displaced) = settle_addresses(nodes, &known, view, seen, best || view.can_be_compared());
    for vn in seen {
        let Some(&endpoint) = places.get(vn.id.as_str()) else { continue };
        let key = known.get(&vn.id).copied().or_else(|| {
            changed = true;
            let unseen = nodes.at(endpoint).filter(|&k| nodes.get(k).is_some_and(|n| n.id().is_none()));
            unseen.or_else(|| nodes.insert(None, endpoint.clone(), Role::Primary, view.asked_at))
        });
        let Some(key) = key else { continue };
        known.insert(vn.id.clone(), key);
        keys.insert(vn.id.as_str(), key);
    }
    for vn in seen {
        let Some(&key) = keys.get(vn.id.as_str()) else { continue };
        let role = match &vn.role {
            Role::Primary => Role::Primary,
            Role::Replica(of) => Role::Replica(of.as_ref().and_then(|id| known.get(id).copied())),
        };
        // A replica shows its primary's epoch. One that follows another primary, or a primary without
        // slots that becomes a replica, may so show a lower one than before; it is measured by what is
        // known of the primary that it is said to follow.
        let follows = match role {
            Role::Replica(of) if !owners.contains(&key) => of.and_then(|k| nodes.get(k)).map(|n| n.epoch()),
            _ => None,
        };
        let Some(node) = nodes.get_mut(key) else { continue };
        let known_epoch = follows.unwrap_or(node.epoch());
        // An epoch of 0 is none where a higher one is known: the view can't be compared.
        let epoch = vn.epoch.filter(|&e| e > 0 || node.epoch() == 0);
        let newer = epoch.is_some_and(|e| e > node.epoch());
        // What a node last said of itself, and a later view bears out, holds whatever was known before: one
        // that was promoted behind a partition may have a lower epoch than the primary it had followed.
        let primary = role == Role::Primary;
        let own_word =
            node.report().my_epoch == epoch && node.report().primary == primary && node.reported_at() <= view.asked_at;
        let own_word = own_word && epoch.is_some();
        let older = epoch.is_some_and(|e| e < known_epoch) && !own_word;
        if older || (view.asked_at < node.seen_at() && !newer) {
            continue;
        }
        let epoch = match (epoch, follows) {
            (Some(epoch), Some(_)) => epoch,
            (Some(epoch), None) if own_word => epoch,
            (epoch, _) => node.epoch().max(epoch.unwrap_or(0)),
        };
        changed |= node.see(&vn.id, epoch, vn.failed, view.asked_at);
        if let Some(&endpoint) = places.get(vn.id.as_str()).filter(|&&e| e != node.endpoint()) {
            // What a node says of its own address counts for less than that it answers where it was asked.
            let itself = view.by.as_ref() == Some(&vn.id) && view.via == *node.endpoint();
            if !itself {
                moved.insert(key, node.endpoint().clone());
                node.move_to(endpoint.clone());
                changed = true;
            }
        }
        // Without an epoch a view may add a replica, but not turn a known node's role around.
        let fresh = node.role() == Role::Primary && node.epoch() == 0;
        if node.role() != role && (vn.epoch.is_some() || fresh || best) {
            node.turn_into(role);
            changed = true;
        }
    }
    Bound { keys, changed, displaced, moved }
}

/// Where the view's nodes are, and which of ours are not any more where they were. An address has one node: of two
/// that a view puts there it is the one that has not failed, and has the higher epoch; a node of ours that has named
/// itself there and is well holds it against a view that does not know it there, which lags.
fn settle_addresses<'v>(
    nodes: &Nodes,
    known: &BTreeMap<String, NodeKey>,
    view: &View,
    seen: &'v [ViewNode],
    decides: bool,
) -> (BTreeMap<&'v str, &'v Endpoint>, BTreeSet<NodeKey>) {
    let mut here: BTreeMap<&Endpoint, &ViewNode> = BTreeMap::new();
    for vn in seen {
        let Some(endpoint) = &vn.endpoint else { continue };
        let place = here.entry(endpoint).or_insert(vn);
        if (!vn.failed, vn.epoch) > (!place.failed, place.epoch) {
            *place = vn;
        }
    }
    let ids: BTreeMap<&str, &ViewNode> = seen.iter().map(|n| (n.id.as_str(), n)).collect();
    let mut displaced = BTreeSet::new();
    let holders: BTreeMap<&Endpoint, &Node> =
        nodes.iter().filter(|n| n.id().is_some()).map(|n| (n.endpoint(), n)).collect();
    here.retain(|endpoint, vn| {
        let Some(holder) = holders.get(endpoint).filter(|n| known.get(&vn.id) != Some(&n.key())) else { return true };
        let itself = holder.id().and_then(|id| ids.get(id)).copied();
        // Who gave this view was asked there.
        let answers = view.by.as_ref() == Some(&vn.id) && view.via == **endpoint;
        match itself.and_then(|n| Some((n, n.endpoint.as_ref()?))) {
            Some((_, to)) if to != *endpoint => return true,
            _ if answers => {}
            Some((itself, _)) if holder.is_at_home() => {
                *vn = itself;
                return true;
            }
            _ if holder.is_at_home() || !decides || view.asked_at < holder.seen_at() => return false,
            _ => {}
        }
        displaced.insert(holder.key());
        true
    });
    (here.into_iter().map(|(endpoint, vn)| (vn.id.as_str(), endpoint)).collect(), displaced)
}
