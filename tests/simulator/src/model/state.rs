//! How a node judges the others, and whether it takes the cluster for working.

use super::{MS, Model, NOBODY, Time, members};
use crate::net::Net;

impl Model {
    /// PFAIL after the node timeout, FAIL when most primaries with slots agree, and its undoing.
    pub(super) fn judge(&mut self, net: &Net, n: usize, now: Time) {
        let timeout = self.setup.node_timeout;
        let node = &mut self.nodes[n];
        let owners = node.owners();
        let needed = owners.count_ones() / 2 + 1;
        let before = (node.pfail, node.fail);
        let mut newly_failed = 0;
        for k in members(node.known & !(1 << n)) {
            let bit = 1 << k;
            if now - node.heard[k] <= timeout {
                node.pfail &= !bit;
                let slots = owners & bit != 0;
                if node.fail & bit != 0 && (!slots || now - node.fail_since[k] > 2 * timeout) {
                    node.fail &= !bit;
                }
                continue;
            }
            node.pfail |= bit;
            if node.fail & bit != 0 {
                continue;
            }
            let fresh = |p: usize| now - node.heard[p] <= 2 * timeout;
            let said = members(owners).filter(|&p| p == n || (node.reports[p] & bit != 0 && fresh(p))).count();
            if said as u32 >= needed {
                node.fail |= bit;
                node.fail_since[k] = now;
                newly_failed |= bit;
            }
        }
        if before != (node.pfail, node.fail) {
            node.changed();
        }
        for k in members(newly_failed) {
            self.tell_failed(net, n, k, now);
        }
    }

    /// FAIL messages: who gets one believes it.
    fn tell_failed(&mut self, net: &Net, n: usize, failed: usize, now: Time) {
        for k in members(self.nodes[n].known & !(1 << n) & !(1 << failed)) {
            if self.nodes[k].group == self.nodes[n].group && self.reaches(net, n, k) {
                let node = &mut self.nodes[k];
                if node.known & (1 << failed) != 0 && node.fail & (1 << failed) == 0 {
                    node.fail |= 1 << failed;
                    node.fail_since[failed] = now;
                    node.changed();
                }
            }
        }
    }

    /// `cluster_state`: enough primaries with slots in reach, and all slots covered if that is required.
    pub(super) fn update_state(&mut self, n: usize, now: Time) {
        let setup = self.setup;
        let node = &mut self.nodes[n];
        let minority = node.in_minority();
        let uncovered = node.owner.iter().any(|o| *o == NOBODY || node.fail & (1 << o) != 0);
        let rejoin = setup.node_timeout.clamp(300 * MS, 5_000 * MS);
        if minority {
            node.minority_at = Some(now);
        }
        if minority && node.is_primary(n) {
            node.holding_back_until = node.holding_back_until.max(now + rejoin);
        }
        let ok = !minority && !(setup.full_coverage && uncovered);
        // Whoever was in a minority, or has just started, waits before it takes writes as a primary again.
        node.cluster_ok = ok && (node.cluster_ok || !node.is_primary(n) || now >= node.holding_back_until);
    }
}
