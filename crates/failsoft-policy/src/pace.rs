//! How often nodes are asked, so that all the routers of a cluster together cost a server little.
//!
//! A router cannot see the others, but `INFO` tells how many clients a node has, and most clients of a
//! cluster that has many are routers like this one. Where there are few, nothing here changes anything.

use core::time::Duration;

/// The most probes a second that all routers together send to one node when nothing is wrong. A probe takes
/// less than 0.15 ms of a server's time.
const CALM: u64 = 100;
/// The same in trouble, when all of them want to know the same at once.
const TROUBLED: u64 = 600;
/// Connections of one router to a node: one for its questions and at least one for its reads. Of more of them a router
/// takes its fleet for larger, and asks less often.
const CONNECTIONS: u64 = 2;
/// The same of one that listens to the node. A fourth is opened by a router that invalidates: of those as few as three
/// quarters may listen.
const LISTENS: u64 = CONNECTIONS + 1;
/// The most clients that a node is believed to have: what it says is one node's word, and sets the pace for all.
const BELIEVED: u64 = 65_536;
/// Turns shorter than this are not worth taking.
const SHORTEST_TURN: Duration = Duration::from_millis(50);

/// The most probes a second that all listeners of a node send together. One is the cheapest command there is.
const LISTENED: u64 = 4_500;
/// What it costs a node to tell one listener, in nanoseconds; what is rung in the same turn of its loop goes together.
const TOLD: u64 = 7_000;
/// The share of its processor that all of that may take, in permille.
const TELLS: u64 = 100;

/// The longest turn where a caller waits for the answer.
pub(crate) const SHORT_TURN: Duration = Duration::from_secs(1);

/// The shortest time between two routine probes of a node, in a cluster whose nodes have up to `clients`
/// clients.
pub(crate) fn pause(clients: u64) -> Duration {
    Duration::from_millis(routers(clients) * 1000 / CALM)
}

/// What all routers notice at once, they ask about by turns: each first waits for a random part of this time,
/// which is `most` at the most.
pub(crate) fn turn(clients: u64, most: Duration) -> Duration {
    let turn = Duration::from_millis(routers(clients) * 1000 / TROUBLED);
    if turn < SHORTEST_TURN { Duration::ZERO } else { turn.min(most) }
}

/// The permille of rounds that may ask one particular node for a view, when every router wants to ask that node, in a
/// cluster of so many nodes: all of them together take up a tenth of its processor.
pub(crate) fn views_permille(clients: u64, nodes: usize) -> u32 {
    // Measured: 0.09 ms for a view of 6 nodes, 1 ms for one of 2,000.
    let (tenth, one) = (100_000, 90 + nodes as u64 / 2);
    u32::try_from(1000 * tenth / one / routers(clients).max(1)).unwrap_or(u32::MAX).clamp(1, 1000)
}

/// Whether every router may listen to a node and send it a probe once in this time, where nodes have so many clients.
/// Where fewer than all of them listen, they are taken for fewer than they are: so where there is no place for all, some
/// listen by turns, no more than there is place for.
pub(crate) fn affords_probes(clients: u64, every: Duration) -> bool {
    let most = u128::from(LISTENED) * every.as_millis() / 1000;
    u128::from(listeners(clients)) <= most
}

/// Whether a node that told a listener something so many times in this time may tell all of them, where nodes have so
/// many clients.
pub(crate) fn affords_bells(clients: u64, times: u32, span: Duration) -> bool {
    let busy = u128::from(listeners(clients) * TOLD) * u128::from(times);
    busy * 1000 <= span.as_nanos() * u128::from(TELLS)
}

/// How many routers so many clients of a node may be.
fn routers(clients: u64) -> u64 {
    clients.min(BELIEVED) / CONNECTIONS
}

/// The same of clients that listen to it.
fn listeners(clients: u64) -> u64 {
    clients.min(BELIEVED) / LISTENS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_fleet_asks_when_it_likes() {
        assert_eq!(turn(50, Duration::from_secs(15)), Duration::ZERO);
        assert_eq!(pause(50), Duration::from_millis(250), "less than any interval between probes by far");
    }

    #[test]
    fn ten_thousand_routers_take_turns() {
        assert_eq!(turn(20_000, Duration::from_secs(15)), Duration::from_secs(15));
        assert_eq!(turn(6_000, Duration::from_secs(15)), Duration::from_secs(5));
        assert_eq!(pause(20_000), Duration::from_secs(100));
        assert_eq!((views_permille(20_000, 2_000), views_permille(20_000, 6)), (9, 107));
        assert_eq!((views_permille(200, 200), views_permille(0, 2_000)), (1000, 1000));
    }

    #[test]
    fn listeners_stay_away_before_they_cost_a_node_too_much() {
        let third = Duration::from_millis(333);
        assert!(affords_probes(3 * 1_498, third) && !affords_probes(3 * 1_500, third));
        assert!(affords_probes(4 * 1_000 + 400, third), "1,000 routers with four connections each, and other clients");
        assert!(affords_probes(2 * 1_800, third) && !affords_probes(3 * 1_800, third), "not all at once: by turns");
        let ten = Duration::from_secs(10);
        assert!(affords_bells(3_000, 140, ten), "1,000 routers, 14 bells a second: 9.8% of the node");
        assert!(!affords_bells(3_000, 150, ten) && affords_bells(u64::MAX, 0, ten));
    }

    #[test]
    fn more_clients_than_a_server_can_have_do_not_stop_the_probes() {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        assert!(minutes(5) < pause(u64::MAX) && pause(u64::MAX) < minutes(6));
        assert_eq!((pause(1 << 63), turn(1 << 63, minutes(60))), (pause(BELIEVED), turn(BELIEVED, minutes(60))));
        assert_eq!(views_permille(u64::MAX, 6), views_permille(BELIEVED, 6));
    }
}
