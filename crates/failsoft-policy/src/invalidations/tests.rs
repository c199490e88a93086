//! What is owed, known and forgotten, and when.

use super::*;
use alloc::format;

const TTL: Duration = Duration::from_secs(60);
const SLOT: Slot = Slot(7);

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn key(name: &'static str) -> Bytes {
    Bytes::from_static(name.as_bytes())
}

fn reign(index: u32, epoch: u64) -> Reign {
    (NodeKey { index, generation: 0 }, epoch)
}

/// `k` is sent again, for the call at that time.
fn due(millis: u64, owed: bool) -> [Due; 1] {
    [Due { slot: SLOT, key: key("k"), called_at: at(millis), owed }]
}

/// `k` was called for at 10 ms and told to that owner at 20 ms.
fn told_to(by: Reign) -> Invalidations {
    let mut all = Invalidations::new(TTL);
    all.call(SLOT, &key("k"), at(10));
    all.told((SLOT, &key("k"), at(10)), by, Some(by), at(20));
    all.ended((SLOT, &key("k"), at(10)), true, at(21));
    all
}

#[test]
fn a_key_is_owed_from_the_call_until_its_owner_has_acknowledged_it() {
    let mut all = Invalidations::new(TTL);
    let k = key("k");
    all.call(SLOT, &k, at(10));
    assert_eq!(all.take_changes(), [(SLOT, true)]);
    assert_eq!(all.standing(SLOT, &k, at(10)), Standing::Owed);
    assert_eq!(all.standing(SLOT, b"other", at(10)), Standing::Clear);
    all.told((SLOT, &k, at(10)), reign(1, 1), Some(reign(1, 1)), at(20));
    assert_eq!(all.standing(SLOT, &k, at(20)), Standing::Since(at(20)));
    assert_eq!(all.take_changes(), [(SLOT, false)]);
    assert_eq!(all.take_due(9, at(5_000)), [], "its echo is still under way");
    all.ended((SLOT, &k, at(10)), true, at(5_000));
    assert_eq!(all.take_due(9, at(59_000)), []);
    assert_eq!(all.standing(SLOT, &k, at(60_009)), Standing::Since(at(20)));
    assert_eq!(all.standing(SLOT, &k, at(60_010)), Standing::Clear);
    all.expire(at(60_010));
    assert!(all.is_empty());
}

#[test]
fn the_acknowledgement_of_an_earlier_call_is_none_of_a_later_one() {
    let mut all = Invalidations::new(TTL);
    let k = key("k");
    all.call(SLOT, &k, at(10));
    all.call(SLOT, &k, at(11));
    all.told((SLOT, &k, at(10)), reign(1, 1), Some(reign(1, 1)), at(20));
    all.ended((SLOT, &k, at(10)), true, at(21));
    assert_eq!(all.standing(SLOT, &k, at(21)), Standing::Owed);
    assert_eq!(all.take_due(9, at(5_000)), [], "the later one is under way");
    all.ended((SLOT, &k, at(11)), false, at(5_000));
    assert_eq!(all.take_due(9, at(5_499)), []);
    assert_eq!(all.take_due(9, at(5_500)), due(11, true));
    assert_eq!(all.take_due(9, at(5_500)), [], "it is under way again");
}

#[test]
fn an_acknowledgement_of_who_is_not_the_owner_any_more_is_none() {
    let mut all = Invalidations::new(TTL);
    let k = key("k");
    for now in [Some(reign(2, 2)), Some(reign(1, 2)), None] {
        all.call(SLOT, &k, at(10));
        all.told((SLOT, &k, at(10)), reign(1, 1), now, at(20));
        all.ended((SLOT, &k, at(10)), true, at(21));
        assert_eq!(all.standing(SLOT, &k, at(21)), Standing::Owed, "{now:?}");
    }
}

#[test]
fn under_another_owner_or_epoch_a_key_is_owed_and_sent_again() {
    for next in [reign(2, 1), reign(1, 2)] {
        let mut all = told_to(reign(1, 1));
        all.compare(|_| Some(reign(1, 1)), at(30));
        assert_eq!(all.standing(SLOT, b"k", at(30)), Standing::Since(at(20)));
        all.compare(|_| None, at(35));
        assert_eq!(all.standing(SLOT, b"k", at(35)), Standing::Since(at(20)), "nobody can be asked");
        all.compare(|_| Some(next), at(40));
        assert_eq!(all.standing(SLOT, b"k", at(40)), Standing::Owed);
        assert_eq!(all.take_due(9, at(40)), due(10, true));
        all.told((SLOT, &key("k"), at(10)), next, Some(next), at(50));
        all.ended((SLOT, &key("k"), at(10)), true, at(51));
        assert_eq!(all.standing(SLOT, b"k", at(51)), Standing::Since(at(50)));
        all.compare(|_| Some(next), at(60));
        assert_eq!(all.take_due(9, at(9_000)), [], "once a reign");
    }
}

#[test]
fn an_echo_that_failed_is_sent_again_while_the_key_is_read() {
    let mut all = Invalidations::new(TTL);
    let k = key("k");
    all.call(SLOT, &k, at(10));
    all.told((SLOT, &k, at(10)), reign(1, 1), Some(reign(1, 1)), at(20));
    all.ended((SLOT, &k, at(10)), false, at(30));
    assert_eq!(all.standing(SLOT, &k, at(30)), Standing::Since(at(20)));
    // Alone, so that nothing is deleted that was filled since then; and ever less often.
    let mut now = 30;
    for pause in [500, 1_000, 2_000, 4_000, 8_000, 8_000] {
        assert_eq!(all.next_timeout(), Some(at(now + pause)));
        now += pause;
        assert_eq!(all.take_due(9, at(now)), due(10, false));
        all.ended((SLOT, &k, at(10)), false, at(now));
    }
    assert_eq!(all.standing(SLOT, &k, at(now)), Standing::Since(at(20)));
    all.compare(|_| Some(reign(2, 2)), at(now + 1));
    assert_eq!(all.take_due(9, at(now + 1)), due(10, true), "another owner has to be told");
}

#[test]
fn what_could_not_be_told_is_given_up_with_its_time() {
    let mut all = Invalidations::new(TTL);
    all.call(SLOT, &key("k"), at(10));
    all.ended((SLOT, &key("k"), at(10)), false, at(20));
    assert_eq!(all.take_due(9, at(60_010)), []);
    assert!(all.is_empty());
    assert_eq!((all.counts(), all.next_timeout()), ((0, 0), None));
    assert_eq!(all.take_changes(), [(SLOT, false)]);
}

#[test]
fn beyond_the_limit_the_oldest_are_known_of_their_slot_alone() {
    let mut all = Invalidations::new(TTL);
    let name = |n: usize| Bytes::from(format!("{n}"));
    let one = reign(1, 1);
    // The oldest is owed, in a slot of its own; the others were told.
    all.call(Slot(1), &name(0), at(1));
    for n in 0..MAX_KEYS + 1 {
        all.call(Slot(2), &name(n), at(2));
        all.told((Slot(2), &name(n), at(2)), one, Some(one), at(2));
        all.ended((Slot(2), &name(n), at(2)), true, at(2));
    }
    assert_eq!(all.counts(), (MAX_KEYS, 0));
    assert_eq!(all.standing(Slot(1), b"other", at(3)), Standing::Owed);
    assert_eq!(all.standing(Slot(2), b"other", at(3)), Standing::Since(at(2)));
    assert_eq!(all.standing(Slot(3), b"other", at(3)), Standing::Clear);
    all.compare(|_| Some(one), at(4));
    assert_eq!(all.standing(Slot(2), b"other", at(5)), Standing::Since(at(2)));
    all.compare(|_| Some(reign(2, 2)), at(6));
    assert_eq!(all.standing(Slot(2), b"other", at(7)), Standing::Owed);
    all.expire(at(60_002));
    assert!(all.is_empty() && all.bytes == 0);
}

/// A bell of `k`, rung for the invalidation with this id in the key's own slot, or in that of its echo.
fn bell(id: u8, own: bool) -> Bell<'static> {
    Bell { id: [id; 16], key: b"k", slot: SLOT, own }
}

#[test]
fn what_others_invalidate_is_known_from_when_it_was_heard() {
    let mut all = Invalidations::new(TTL);
    let owner = Some(reign(1, 1));
    assert!(all.heard(&bell(1, true), true, owner, at(10)));
    assert_eq!(all.standing(SLOT, b"k", at(10)), Standing::Since(at(10)));
    assert!(!all.heard(&bell(1, false), false, owner, at(20)), "its echo tells nothing more");
    assert_eq!(all.standing(SLOT, b"k", at(20)), Standing::Since(at(10)));
    assert!(all.heard(&bell(2, false), false, owner, at(30)), "an echo may be all that is heard");
    assert!(all.heard(&bell(2, true), true, owner, at(40)), "until now the key may have been there");
    assert_eq!(all.standing(SLOT, b"k", at(40)), Standing::Since(at(40)));
    assert_eq!((all.counts(), all.take_due(9, at(50_000))), ((1, 0), [].into()), "who made it sends it again");
    all.expire(at(60_040));
    assert!(all.is_empty());
}

#[test]
fn its_own_bells_tell_a_process_nothing_and_those_of_others_do() {
    let mut all = Invalidations::new(TTL);
    let (k, owner) = (key("k"), reign(1, 1));
    all.call(SLOT, &k, at(10));
    all.begun(SLOT, &k, [1; 16]);
    all.told((SLOT, &k, at(10)), owner, Some(owner), at(20));
    assert!(!all.heard(&bell(1, true), true, Some(owner), at(21)));
    assert!(!all.heard(&bell(1, false), false, Some(owner), at(22)));
    assert_eq!(all.standing(SLOT, b"k", at(22)), Standing::Since(at(20)));
    assert!(all.heard(&bell(2, true), true, Some(owner), at(30)));
    assert_eq!(all.standing(SLOT, b"k", at(30)), Standing::Since(at(30)));
    all.call(SLOT, &k, at(40));
    assert!(all.heard(&bell(3, true), true, Some(owner), at(50)));
    assert_eq!(all.standing(SLOT, b"k", at(50)), Standing::Owed, "its own is not acknowledged");
}

#[test]
fn what_is_heard_while_its_own_is_under_way_does_not_keep_it_owed() {
    let mut all = Invalidations::new(TTL);
    let (k, owner) = (key("k"), reign(1, 1));
    all.call(SLOT, &k, at(10));
    all.begun(SLOT, &k, [1; 16]);
    assert!(all.heard(&bell(2, true), true, Some(owner), at(15)));
    all.told((SLOT, &k, at(10)), owner, Some(owner), at(20));
    assert_eq!(all.standing(SLOT, b"k", at(20)), Standing::Since(at(20)));
    all.ended((SLOT, &k, at(10)), true, at(21));
    assert_eq!(all.take_due(9, at(50_000)), []);
    assert_eq!(all.standing(SLOT, b"k", at(60_014)), Standing::Since(at(20)), "it is known from when it was heard");
    assert_eq!(all.standing(SLOT, b"k", at(60_015)), Standing::Clear);
}

/// `k` was heard of at 10 ms from the first owner, whom another one followed at 1 s.
fn in_doubt() -> (Invalidations, Reign) {
    let (mut all, now) = (Invalidations::new(TTL), reign(2, 2));
    all.heard(&bell(1, true), true, Some(reign(1, 1)), at(10));
    all.take_changes();
    all.compare(|_| Some(now), at(1_000));
    (all, now)
}

#[test]
fn under_another_owner_what_was_heard_is_in_doubt_until_that_one_rings() {
    let (mut all, now) = in_doubt();
    assert_eq!(all.standing(SLOT, b"k", at(1_000)), Standing::InDoubt(at(10)));
    assert_eq!((all.take_changes(), all.counts()), ([(SLOT, true)].into(), (1, 1)));
    assert_eq!(all.take_due(9, at(30_000)), [], "a fleet would delete it as often as it has routers");
    assert!(all.heard(&bell(2, false), false, Some(now), at(30_000)));
    assert_eq!(all.standing(SLOT, b"k", at(30_000)), Standing::InDoubt(at(30_000)), "that is no word of its owner");
    assert!(all.heard(&bell(2, true), false, Some(now), at(30_001)));
    assert_eq!(all.standing(SLOT, b"k", at(30_001)), Standing::InDoubt(at(30_001)), "nor is that of the owner before");
    assert!(all.heard(&bell(3, true), true, Some(now), at(30_002)));
    assert_eq!(all.standing(SLOT, b"k", at(30_002)), Standing::Since(at(30_002)));
    assert_eq!(all.take_changes(), [(SLOT, false)]);
}

#[test]
fn a_mark_of_this_reign_ends_the_doubt_for_good() {
    let (mut all, now) = in_doubt();
    assert!(all.marked((SLOT, &key("k")), Some(2), Some(now), at(1_010)));
    assert_eq!(all.standing(SLOT, b"k", at(1_010)), Standing::Since(at(1_010)));
    assert_eq!((all.take_due(9, at(50_000)), all.counts()), ([].into(), (1, 0)));
    all.compare(|_| Some(now), at(2_000));
    assert_eq!(all.standing(SLOT, b"k", at(2_000)), Standing::Since(at(1_010)));
    all.compare(|_| Some(reign(1, 3)), at(3_000));
    assert_eq!(all.standing(SLOT, b"k", at(3_000)), Standing::InDoubt(at(1_010)), "another reign");
}

#[test]
fn with_no_mark_of_this_reign_the_key_step_is_sent_again_once() {
    // None, one of an earlier reign, one of an owner of whom this process knows nothing yet.
    for found in [None, Some(1), Some(3)] {
        let (mut all, now) = in_doubt();
        assert!(!all.marked((SLOT, &key("k")), found, Some(now), at(1_010)), "{found:?}");
        assert_eq!(all.standing(SLOT, b"k", at(1_010)), Standing::Owed);
        assert!(!all.marked((SLOT, &key("k")), found, Some(now), at(1_011)), "that of another read at the same time");
        assert_eq!(all.take_due(9, at(1_011)), due(10, true));
        assert_eq!(all.take_due(9, at(1_012)), [], "it is under way");
        all.begun(SLOT, &key("k"), [7; 16]);
        all.told((SLOT, &key("k"), at(10)), now, Some(now), at(1_020));
        all.ended((SLOT, &key("k"), at(10)), true, at(1_021));
        assert_eq!(all.standing(SLOT, b"k", at(1_021)), Standing::Since(at(1_020)));
        assert!(!all.heard(&bell(7, true), true, Some(now), at(1_022)), "it rang that one itself");
        all.compare(|_| Some(now), at(1_030));
        assert_eq!(all.take_due(9, at(50_000)), [], "once a reign");
        all.compare(|_| Some(reign(1, 3)), at(2_000));
        assert_eq!(all.standing(SLOT, b"k", at(2_000)), Standing::InDoubt(at(1_020)), "it has made none of its own");
    }
}

#[test]
fn where_no_epochs_are_known_no_mark_says_under_whom_it_was_left() {
    let mut all = Invalidations::new(TTL);
    let blind = Some(reign(2, 0));
    all.heard(&bell(1, true), true, Some(reign(1, 0)), at(10));
    all.compare(|_| blind, at(1_000));
    assert!(!all.marked((SLOT, &key("k")), Some(0), blind, at(1_010)));
    assert_eq!(all.standing(SLOT, b"k", at(1_010)), Standing::Owed);
    assert!(!all.marked((SLOT, &key("k")), Some(2), None, at(1_020)), "nobody owns it");
}

#[test]
fn its_own_call_ends_the_doubt_and_is_sent_again_by_itself() {
    let (mut all, now) = in_doubt();
    all.call(SLOT, &key("k"), at(1_100));
    assert_eq!((all.standing(SLOT, b"k", at(1_100)), all.counts()), (Standing::Owed, (1, 1)));
    all.told((SLOT, &key("k"), at(1_100)), now, Some(now), at(1_110));
    all.ended((SLOT, &key("k"), at(1_100)), true, at(1_111));
    all.compare(|_| Some(reign(1, 3)), at(2_000));
    assert_eq!(all.take_due(9, at(2_000)), due(1_100, true));
}
