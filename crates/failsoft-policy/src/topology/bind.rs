//! A view's nodes and ours: who is who, and whose role, epoch and address are taken over.

use crate::nodes::Nodes;
use crate::view::{Role, View, ViewNode};
use crate::words::NodeKey;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;

/// Finds or adds the view's nodes and takes over their roles and addresses, unless what is known of
/// a node carries a higher epoch. Gives their names by id, and whether anything changed.
pub(super) fn bind<'v>(
    nodes: &mut Nodes,
    mut known: BTreeMap<String, NodeKey>,
    view: &View,
    seen: &'v [ViewNode],
    owners: &BTreeSet<NodeKey>,
) -> (BTreeMap<&'v str, NodeKey>, bool) {
    let mut changed = false;
    let mut keys = BTreeMap::new();
    for vn in seen {
        let Some(endpoint) = &vn.endpoint else { continue };
        let key = known.get(&vn.id).copied().or_else(|| {
            changed = true;
            let unseen = nodes.at(endpoint).filter(|&k| nodes.get(k).is_some_and(|n| n.id.is_none()));
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
            Role::Replica(of) if !owners.contains(&key) => of.and_then(|k| nodes.get(k)).map(|n| n.epoch),
            _ => None,
        };
        let Some(node) = nodes.get_mut(key) else { continue };
        let known_epoch = follows.unwrap_or(node.epoch);
        let newer = vn.epoch.is_some_and(|e| e > node.epoch);
        // What a node last said of itself, and a later view bears out, holds whatever was known before: one
        // that was promoted behind a partition may have a lower epoch than the primary it had followed.
        let primary = role == Role::Primary;
        let own_word =
            node.report.my_epoch == vn.epoch && node.report.primary == primary && node.reported_at <= view.asked_at;
        let own_word = own_word && vn.epoch.is_some();
        let older = vn.epoch.is_some_and(|e| e < known_epoch) && !own_word;
        if older || (view.asked_at < node.seen_at && !newer) {
            continue;
        }
        node.id.get_or_insert_with(|| vn.id.clone());
        node.epoch = match (vn.epoch, follows) {
            (Some(epoch), Some(_)) => epoch,
            (Some(epoch), None) if own_word => epoch,
            (epoch, _) => node.epoch.max(epoch.unwrap_or(0)),
        };
        node.seen_at = view.asked_at.max(node.seen_at);
        changed |= node.failed != vn.failed;
        node.failed = vn.failed;
        if let Some(endpoint) = vn.endpoint.as_ref().filter(|e| **e != node.endpoint) {
            node.endpoint = endpoint.clone();
            changed = true;
        }
        // Without an epoch a view may add a replica, but not turn a known node's role around.
        let fresh = node.role == Role::Primary && node.epoch == 0;
        if node.role != role && (vn.epoch.is_some() || fresh) {
            node.role = role;
            node.validated = false;
            node.behind_since = None;
            node.forget_offsets();
            changed = true;
        }
    }
    (keys, changed)
}
