//! How long the steps of an invalidation have, and what one that lacks something lets its caller do.

use super::*;
use crate::cluster::Cluster;
use crate::slot::slot_of;
use alloc::vec::Vec;

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

#[test]
fn the_time_of_a_key_counts_from_its_turn_and_each_step_goes_out_once() {
    let config = Config::default();
    let mut cluster = Cluster::new(&config, Vec::new(), at(0));
    let key = Bytes::from_static(b"k");
    let mut turn = Turn { cluster: &mut cluster, now: at(10), dice: 0 };
    let mut call = Invalidation::call(&config, slot_of(&key), key, &mut turn);
    assert_eq!(call.by(&config, at(5_000)), at(6_000), "it waited for its turn");
    assert_eq!(call.by(&config, at(5_900)), at(6_150), "the deadline is over before an attempt would be");
    assert_eq!(call.by(&config, at(7_000)), at(7_250));
}

#[test]
fn a_transaction_begins_only_if_the_key_is_held_and_gone() {
    let cause = Some(Cause::Timeout);
    let whole = Pending::default();
    assert!(whole.is_empty() && whole.lets_write());
    assert!(Pending { echo: cause, ..whole }.lets_write(), "whoever reads the key's own shard finds it gone");
    for lacks in [
        Pending { hold: cause, ..whole },
        Pending { key: cause, ..whole },
        // The replica may be promoted before it has the hold.
        Pending { replicas: cause, ..whole },
    ] {
        assert!(!lacks.is_empty() && !lacks.lets_write(), "{lacks:?}");
    }
    let all = Pending { hold: cause, key: cause, echo: cause, replicas: cause };
    assert_eq!(all.steps().map(|(step, _)| step.as_str()).collect::<Vec<_>>(), ["hold", "key", "echo", "replicas"]);
}
