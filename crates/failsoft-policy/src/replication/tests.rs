//! Which nodes are known to be behind, for how long, and how many.

use super::*;

const TTL: Duration = Duration::from_secs(60);
const SLOT: Slot = Slot(7);

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn reign(index: u32, epoch: u64) -> Reign {
    (NodeKey { index, generation: 0 }, epoch)
}

fn lack(called_at: u64) -> (Slot, Bytes, Instant) {
    (SLOT, Bytes::from_static(b"k"), at(called_at))
}

#[test]
fn each_durability_asks_for_what_it_says() {
    for (durability, of_none, of_one, of_three) in
        [(Durability::Primary, 0, 0, 0), (Durability::Replica, 0, 1, 1), (Durability::All, 0, 1, 3)]
    {
        let asked = [0, 1, 3].map(|linked| durability.of(linked));
        assert_eq!(asked, [of_none, of_one, of_three], "{durability}");
    }
}

#[test]
fn a_node_is_asked_again_once_for_all_its_keys_and_until_the_last_is_forgotten() {
    let mut behind = Behind::new(TTL);
    assert!(behind.add(reign(1, 1), lack(10), at(100)));
    assert!(!behind.add(reign(1, 1), lack(20), at(110)), "it is known already");
    assert_eq!(behind.next_timeout(), Some(at(600)));
    let due = behind.take_due(at(600));
    assert_eq!(due.iter().map(|again| again.called_at).collect::<Vec<_>>(), [at(20)], "the later one stands for both");
    assert_eq!(behind.take_due(at(601)), [], "it is under way");
    behind.failed(reign(1, 1), at(700));
    assert_eq!(behind.next_timeout(), Some(at(1_200)));
    assert_eq!(behind.take_due(at(60_020)), [], "nobody knows of its keys any more");
    assert_eq!(behind.next_timeout(), None);
}

#[test]
fn a_pause_doubles_up_to_a_bound() {
    let mut behind = Behind::new(Duration::from_secs(3_600));
    behind.add(reign(1, 1), lack(0), at(0));
    let mut now = at(500);
    for pause in [500, 1_000, 2_000, 4_000, 8_000, 8_000] {
        assert_eq!(behind.take_due(now).len(), 1);
        behind.failed(reign(1, 1), now);
        now = now + Duration::from_millis(pause);
        assert_eq!(behind.next_timeout(), Some(now));
    }
}

#[test]
fn an_answer_is_about_its_own_node_and_reign() {
    let mut behind = Behind::new(TTL);
    behind.add(reign(1, 1), lack(10), at(100));
    behind.caught_up(reign(2, 1), at(200));
    behind.caught_up(reign(1, 2), at(200));
    behind.caught_up(reign(1, 1), at(99));
    assert_eq!(behind.take_due(at(600)).len(), 1);
    behind.caught_up(reign(1, 1), at(100));
    assert_eq!(behind.next_timeout(), None);
}

#[test]
fn no_more_nodes_are_known_than_the_bound() {
    let mut behind = Behind::new(TTL);
    for index in 0..=MAX_BEHIND as u32 {
        behind.add(reign(index, 1), lack(10), at(100));
    }
    assert_eq!(behind.nodes.len(), MAX_BEHIND);
}
