//! Histories made by hand: of each rule and each edge one that passes and one that does not.

use super::*;
use crate::promise::EdgeKind;

/// All times of these tests are milliseconds.
const PROMISE: Promise = Promise {
    trust_window: millis(300),
    staleness_budget: millis(1_000),
    invalidation_ttl: millis(60_000),
    hold: millis(1_500),
};
const WRITER: Process = 0;
const READER: Process = 1;
/// No node of the edges.
const NODE: &str = "127.0.0.1:1";

#[derive(Debug)]
struct History(Vec<Event>);

/// Two processes that hear all nodes until `heard`; the writer changed the key at 1,000 ms, and that was complete at 1,010.
fn heard_until(heard: u64) -> History {
    let mut events = Vec::new();
    for process in [WRITER, READER] {
        events.push(Event::Started { process, promise: PROMISE, at: 0 });
        for at in (0..20_000).step_by(50).map(millis) {
            let record = Record::Heard { at, heard: at < millis(heard) };
            events.push(Event::Record { process, record });
        }
    }
    History(events).and(Event::Commit { process: WRITER, key: 0, version: 2, at: millis(999), held: None })
}

fn invalidated() -> History {
    heard_until(u64::MAX / 1_000).called(WRITER, 1, 2, 1_000, false).done(WRITER, 1, 1_010, true)
}

fn cut_off() -> History {
    heard_until(900).called(WRITER, 1, 2, 1_000, false).done(WRITER, 1, 1_010, true)
}

/// The older version, which the store gave at 500 ms.
fn old(source: Source, start: u64) -> Read {
    Read {
        process: READER,
        key: 0,
        start: millis(start),
        end: millis(start + 1),
        version: 1,
        read_at: millis(500),
        source,
        reason: "-".into(),
        age: (source == Source::Primary).then_some(0),
        budget: None,
        joined: false,
        node: NODE.into(),
    }
}

impl History {
    fn and(mut self, event: Event) -> Self {
        self.0.push(event);
        self
    }

    fn called(self, process: Process, id: u64, version: u64, at: u64, held: bool) -> Self {
        let record = Record::Called { id, key: 0, version, at: millis(at), held };
        self.and(Event::Record { process, record })
    }

    fn done(self, process: Process, id: u64, at: u64, complete: bool) -> Self {
        self.and(Event::Record { process, record: Record::Done { id, at: millis(at), complete } })
    }

    fn edge(self, kind: EdgeKind, from: u64, until: u64) -> Self {
        let (from, until, keys) = (millis(from), millis(until), vec![0]);
        self.and(Event::Edge(Edge { kind, from, until, keys, node: NODE.into() }))
    }

    /// What is wrong with it if the read is made, too.
    fn judge(self, read: Read) -> Verdict {
        let mut checker = Checker::new(1);
        self.0.into_iter().for_each(|event| checker.take(event));
        checker.take(Event::Record { process: read.process, record: Record::Read(read) });
        checker.finish().1
    }

    fn breaks(self, read: Read) -> Option<Rule> {
        let verdict = self.judge(read);
        assert!(verdict.excused.is_empty(), "{:?}", verdict.excused);
        verdict.violations.first().map(|violation| violation.rule)
    }

    fn excused(self, read: Read) -> Option<EdgeKind> {
        let verdict = self.judge(read);
        assert!(verdict.violations.is_empty(), "{:?}", verdict.violations);
        verdict.excused.into_keys().next().map(|(edge, _)| edge)
    }
}

#[test]
fn what_is_as_new_as_the_invalidation_is_always_good() {
    for source in Source::ALL {
        let read = Read { version: 2, ..old(source, 10_000) };
        assert_eq!(invalidated().breaks(read), None, "{source:?}");
    }
}

#[test]
fn the_process_that_invalidates_reads_nothing_older_from_the_call_on() {
    let own = |start| Read { process: WRITER, ..old(Source::Near, start) };
    assert_eq!(invalidated().breaks(own(1_001)), Some(Rule::Own));
    assert_eq!(invalidated().breaks(own(1_000)), None, "it set out before");
    let incomplete = || heard_until(900).called(WRITER, 1, 2, 1_000, false).done(WRITER, 1, 1_400, false);
    assert_eq!(incomplete().breaks(own(9_000)), Some(Rule::Own), "complete or not");
    assert_eq!(incomplete().breaks(old(Source::Near, 9_000)), None, "others are promised nothing of it");
    assert_eq!(incomplete().breaks(own(61_001)), None, "it is known for so long");
}

#[test]
fn a_primary_has_nothing_older_once_it_is_complete() {
    assert_eq!(invalidated().breaks(old(Source::Primary, 1_010)), None, "they crossed");
    assert_eq!(invalidated().breaks(old(Source::Primary, 1_011)), Some(Rule::Primary));
}

#[test]
fn a_copy_is_not_older_than_it_says() {
    for source in [Source::Near, Source::Replica, Source::Stale] {
        let aged = |age| Read { age: Some(millis(age)), ..old(source, 1_300) };
        assert_eq!(invalidated().breaks(aged(290)), None, "{source:?}");
        assert_eq!(invalidated().breaks(aged(289)), Some(Rule::Age), "{source:?}");
    }
}

#[test]
fn a_near_copy_ends_within_the_trust_window_whoever_hears() {
    for history in [invalidated, cut_off] {
        assert_eq!(history().breaks(old(Source::Near, 1_310)), None);
        assert_eq!(history().breaks(old(Source::Near, 1_311)), Some(Rule::Near));
    }
}

#[test]
fn what_stands_in_is_bounded_by_whether_all_was_heard() {
    for source in [Source::Stale, Source::Replica] {
        assert_eq!(invalidated().breaks(old(source, 1_310)), None);
        assert_eq!(invalidated().breaks(old(source, 1_311)), Some(Rule::StandIn));
        assert_eq!(cut_off().breaks(old(source, 2_010)), None);
        assert_eq!(cut_off().breaks(old(source, 2_011)), Some(Rule::StandIn));
        let with = |budget, start| Read { budget: Some(millis(budget)), ..old(source, start) };
        assert_eq!(cut_off().breaks(with(0, 1_311)), Some(Rule::StandIn), "the call's own budget");
        assert_eq!(cut_off().breaks(with(3_000, 4_010)), None);
        assert_eq!(cut_off().breaks(with(3_000, 4_011)), Some(Rule::StandIn));
    }
}

#[test]
fn a_lapse_before_the_invalidation_is_over_counts_as_not_heard() {
    let lapse = |at| {
        let record = Record::Heard { at: millis(at), heard: false };
        let history = invalidated().0;
        let heard_there =
            |event: &Event| matches!(event, Event::Record { process: READER, record } if record.at() == millis(at));
        let other = history.into_iter().map(|event| match heard_there(&event) {
            true => Event::Record { process: READER, record: record.clone() },
            false => event,
        });
        History(other.collect()).breaks(old(Source::Stale, 1_900))
    };
    assert_eq!(lapse(1_200), None);
    assert_eq!(lapse(600), Some(Rule::StandIn));
}

#[test]
fn who_joins_a_load_gets_what_that_began_with() {
    let joined = |start| Read { joined: true, ..old(Source::Secondary, start) };
    assert_eq!(invalidated().breaks(joined(1_310)), None);
    assert_eq!(invalidated().breaks(joined(1_311)), Some(Rule::Joined));
    assert_eq!(cut_off().breaks(joined(2_010)), None, "nothing was heard, and the load began within the budget");
    assert_eq!(cut_off().breaks(joined(2_011)), Some(Rule::Joined));
}

#[test]
fn who_waits_for_an_equal_request_gets_what_that_was_sent_with() {
    let joined = |start| Read { joined: true, ..old(Source::Primary, start) };
    assert_eq!(invalidated().breaks(joined(1_310)), None);
    assert_eq!(invalidated().breaks(joined(1_311)), Some(Rule::Joined));
}

#[test]
fn a_load_of_ones_own_begins_with_the_call() {
    assert_eq!(invalidated().breaks(old(Source::Secondary, 1_010)), None);
    assert_eq!(invalidated().breaks(old(Source::Secondary, 1_011)), Some(Rule::Loaded));
    assert_eq!(invalidated().breaks(old(Source::None, 1_011)), Some(Rule::Loaded), "every key has a value");
}

/// A writer that held the key at some time between 1,000 and 1,010 ms, committed, and died.
fn died(committed: u64) -> History {
    let held = Some((millis(1_000), millis(1_010)));
    let commit = Event::Commit { process: WRITER, key: 0, version: 3, at: millis(committed), held };
    heard_until(900).and(commit)
}

fn ended() -> Event {
    Event::Ended { process: WRITER, at: millis(2_000) }
}

#[test]
fn nothing_is_read_that_is_older_than_what_a_dead_writer_committed() {
    let over = 1_010 + 1_500 + 50;
    assert_eq!(died(1_100).and(ended()).breaks(old(Source::Primary, over)), None, "the hold stands");
    assert_eq!(died(1_100).and(ended()).breaks(old(Source::Primary, over + 1)), Some(Rule::Killed));
    assert_eq!(died(2_500).and(ended()).breaks(old(Source::Primary, over + 1)), None, "it came too late");
    let copy = |age| Read { age: Some(millis(age)), ..old(Source::Near, over + 1) };
    assert_eq!(died(1_100).and(ended()).breaks(copy(1)), None);
    assert_eq!(died(1_100).and(ended()).breaks(copy(0)), Some(Rule::Killed));
}

#[test]
fn a_writer_that_came_to_its_end_is_not_dead() {
    let said = || died(1_100).called(WRITER, 7, 3, 1_200, true);
    let read = || old(Source::Primary, 5_000);
    assert_eq!(said().and(ended()).breaks(read()), Some(Rule::Killed), "it was not acknowledged");
    assert_eq!(said().done(WRITER, 7, 1_210, false).and(ended()).breaks(read()), Some(Rule::Killed));
    let end = said().done(WRITER, 7, 1_210, true).and(ended());
    assert_eq!(end.breaks(read()), Some(Rule::Primary), "it was an invalidation like any other");
}

#[test]
fn a_writer_may_be_dead_before_the_store_comes_to_its_commit() {
    let held = Some((millis(1_000), millis(1_010)));
    let commit = Event::Commit { process: WRITER, key: 0, version: 3, at: millis(1_100), held };
    let history = heard_until(900).and(ended()).and(commit);
    assert_eq!(history.breaks(old(Source::Primary, 5_000)), Some(Rule::Killed));
}

#[test]
fn a_primary_that_thawed_may_be_behind_and_nobody_else() {
    let thawed = || invalidated().edge(EdgeKind::Thawed, 3_000, 3_010);
    assert_eq!(thawed().excused(old(Source::Primary, 3_010)), Some(EdgeKind::Thawed));
    assert_eq!(thawed().breaks(old(Source::Primary, 3_011)), Some(Rule::Primary), "it knows");
    assert_eq!(thawed().breaks(old(Source::Primary, 2_900)), Some(Rule::Primary), "it was hung");
    let other = Read { node: "127.0.0.1:2".into(), ..old(Source::Primary, 3_005) };
    assert_eq!(thawed().breaks(other), Some(Rule::Primary));
    let copy = Read { age: Some(millis(100)), ..old(Source::Near, 3_105) };
    assert_eq!(thawed().excused(copy.clone()), Some(EdgeKind::Thawed), "a copy of what it said");
    assert_eq!(thawed().breaks(Read { age: Some(millis(50)), ..copy }), Some(Rule::Age), "a later one");
}

#[test]
fn what_a_failover_lost_is_believed_by_those_who_did_not_hear_it() {
    let read = || old(Source::Primary, 5_000);
    assert_eq!(cut_off().edge(EdgeKind::Lost, 900, 4_000).excused(read()), Some(EdgeKind::Lost));
    assert_eq!(invalidated().edge(EdgeKind::Lost, 900, 4_000).breaks(read()), Some(Rule::Primary), "it was heard");
    assert_eq!(cut_off().edge(EdgeKind::Lost, 1_011, 4_000).breaks(read()), Some(Rule::Primary), "it was before");
    let own = Read { process: WRITER, ..read() };
    assert_eq!(cut_off().edge(EdgeKind::Lost, 900, 4_000).breaks(own), Some(Rule::Own), "it sends it again");
    let another = cut_off().edge(EdgeKind::Lost, 900, 4_000).called(WRITER, 2, 3, 4_100, false);
    assert_eq!(another.done(WRITER, 2, 4_110, true).breaks(read()), Some(Rule::Primary), "and again afterwards");
}

#[test]
fn a_hold_may_be_lost_with_all_else_of_its_primary() {
    let dead = || died(1_100).and(ended());
    let read = || old(Source::Primary, 5_000);
    assert_eq!(dead().edge(EdgeKind::Emptied, 1_000, 2_000).excused(read()), Some(EdgeKind::Emptied));
    assert_eq!(dead().edge(EdgeKind::Lost, 1_000, 2_000).excused(read()), Some(EdgeKind::Lost));
    assert_eq!(dead().edge(EdgeKind::Emptied, 3_000, 3_100).breaks(read()), Some(Rule::Killed), "it was over");
    assert_eq!(invalidated().edge(EdgeKind::Emptied, 1_000, 9_000).breaks(read()), Some(Rule::Primary));
}

#[test]
fn a_read_waits_for_what_the_others_say() {
    let mut checker = Checker::new(1);
    heard_until(900).0.into_iter().for_each(|event| checker.take(event));
    let say = |process, record| Event::Record { process, record };
    checker.take(say(
        READER,
        Record::Read(Read { start: millis(25_000), end: millis(25_001), ..old(Source::Primary, 0) }),
    ));
    checker.advance();
    assert_eq!(checker.counts.checked, 0);
    checker.take(say(WRITER, Record::Called { id: 1, key: 0, version: 2, at: millis(24_000), held: false }));
    checker.take(say(WRITER, Record::Done { id: 1, at: millis(24_010), complete: true }));
    checker.advance();
    assert_eq!(checker.counts.checked, 0, "more may follow of that time");
    checker.take(say(WRITER, Record::Heard { at: millis(25_001), heard: true }));
    checker.advance();
    assert_eq!(checker.counts.checked, 1);
    assert_eq!(checker.finish().1.violations.len(), 1);
}
