//! Listening in virtual time: what proves that a node was heard, for how long, and what ends it.

use super::*;

const NODE: NodeKey = NodeKey { index: 1, generation: 0 };
const ECHO: NodeKey = NodeKey { index: 2, generation: 0 };
const LINE: u64 = 7;

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// A router that listens to `NODE`, whose echoes `ECHO` tells, and the other way round. While they are in use they are
/// probed at 20 ms, 320 ms, and so on.
struct World {
    hearing: Hearing,
    clients: u64,
    admits: bool,
}

impl World {
    fn new() -> Self {
        let mut config = Config::default();
        config.set_text("trust_window_ms", "900").expect("in range");
        let mut hearing = Hearing::new(&config);
        hearing.follow([(NODE, Slot(1), [ECHO].into()), (ECHO, Slot(9_000), [NODE].into())].into(), at(0));
        Self { hearing, clients: 10, admits: true }
    }

    /// Both are told to be open from 10 ms on.
    fn open() -> Self {
        let mut world = Self::new();
        assert_eq!(world.poll(0), [Command::Open { node: NODE }, Command::Open { node: ECHO }]);
        for node in [NODE, ECHO] {
            world.hearing.handle_opened(node, Ok(LINE), at(10), 0);
        }
        world
    }

    fn poll(&mut self, millis: u64) -> Vec<Command> {
        let (admits, clients, now) = (self.admits, self.clients, at(millis));
        core::iter::from_fn(|| self.hearing.poll(|_| admits, clients, now, 0)).collect()
    }

    /// The nodes that are probed at this time.
    fn probed(&mut self, millis: u64) -> Vec<NodeKey> {
        let probe = |command| if let Command::Probe { node, .. } = command { Some(node) } else { None };
        self.poll(millis).into_iter().filter_map(probe).collect()
    }

    fn answer(&mut self, node: NodeKey, sent: u64, answer: Answer, millis: u64) {
        self.hearing.handle_answer((node, LINE), at(sent), &answer, at(millis), 0);
    }

    /// Probes that are due are sent, each millisecond up to this time, and answered at once by those who are `well`.
    fn run(&mut self, from: u64, to: u64, well: &[NodeKey]) {
        for millis in from..to {
            for node in self.probed(millis) {
                if well.contains(&node) {
                    self.answer(node, millis, Answer::Owner, millis);
                }
            }
        }
    }

    fn listening(&self, node: NodeKey, millis: u64) -> Option<Listening> {
        self.hearing.listening(node, at(millis))
    }

    fn complete(&self, node: NodeKey, since: u64) -> Option<Instant> {
        self.hearing.complete_until(node, at(since))
    }
}

#[test]
fn a_node_was_heard_up_to_the_last_probe_but_one() {
    let mut world = World::open();
    assert_eq!(world.probed(20), [NODE, ECHO]);
    world.answer(NODE, 20, Answer::Owner, 25);
    assert_eq!(world.listening(NODE, 25), Some(Listening::Open), "one answer proves nothing");
    assert_eq!(world.probed(319), []);
    assert_eq!(world.probed(320), [NODE]);
    world.answer(NODE, 320, Answer::Owner, 325);
    assert_eq!(world.listening(NODE, 325), Some(Listening::Heard));
    assert_eq!(world.complete(NODE, 20), Some(at(920)));
    assert_eq!(world.complete(NODE, 19), None, "what was told before the first proof may be missing");
    assert_eq!(world.listening(NODE, 920), Some(Listening::Heard));
    assert_eq!(world.listening(NODE, 921), Some(Listening::Open), "the proof is too old");
}

#[test]
fn after_a_lapse_it_is_heard_anew() {
    let mut world = World::open();
    world.run(20, 1_000, &[NODE]);
    assert_eq!(world.complete(NODE, 20), Some(at(620 + 900)), "as of the last probe but one");
    assert_eq!(world.probed(1_220), [NODE]);
    world.answer(NODE, 1_220, Answer::Owner, 2_000);
    assert_eq!(world.complete(NODE, 20), None, "in between it was not heard");
    world.run(2_000, 2_700, &[NODE]);
    assert!(world.complete(NODE, 2_300).is_some());
    assert_eq!(world.complete(NODE, 1_000), None);
}

#[test]
fn a_lapse_is_noticed_by_itself() {
    let mut world = World::open();
    world.run(20, 1_000, &[NODE, ECHO]);
    assert!(world.hearing.take_news().changed);
    assert_eq!(world.hearing.take_news(), News::default());
    assert_eq!(world.probed(1_220), [NODE, ECHO]);
    world.poll(1_520);
    assert!(!world.hearing.take_news().changed);
    let due = world.hearing.next_timeout().expect("it lapses");
    assert!(due > at(1_520) && due < at(1_521), "{due:?}");
    world.poll(1_521);
    assert!(world.hearing.take_news().changed);
}

#[test]
fn where_a_node_is_lost_those_who_tell_its_echoes_are_enough() {
    let mut world = World::open();
    world.run(20, 1_000, &[NODE, ECHO]);
    world.answer(NODE, 0, Answer::Lost, 1_000);
    assert_eq!(world.listening(NODE, 1_000), Some(Listening::Heard), "that was no probe of ours");
    assert_eq!(world.probed(1_220), [NODE, ECHO]);
    world.answer(NODE, 1_220, Answer::Lost, 1_221);
    world.answer(ECHO, 1_220, Answer::Owner, 1_221);
    assert_eq!(world.listening(NODE, 1_221), Some(Listening::Closed));
    assert_eq!(world.complete(NODE, 20), Some(at(920 + 900)), "by the echoes");
    assert_eq!(world.complete(NODE, 19), None);
    world.answer(ECHO, 1_220, Answer::Refused(ErrorReply::ClusterDown), 1_222);
    assert!(world.complete(NODE, 20).is_some(), "it was answered before");
    assert_eq!(world.poll(1_222), [Command::Close { node: NODE, line: LINE }]);
    assert_eq!(world.probed(1_520), [ECHO]);
    world.answer(ECHO, 1_520, Answer::Refused(ErrorReply::ClusterDown), 1_521);
    assert_eq!(world.complete(NODE, 20), None, "it has lost its majority");
    assert!(world.poll(1_521).contains(&Command::Close { node: ECHO, line: LINE }));
}

#[test]
fn all_who_tell_the_echoes_have_to_be_heard() {
    let mut world = World::new();
    let third = NodeKey { index: 3, generation: 0 };
    let owners = [
        (NODE, Slot(1), [ECHO, third].into()),
        (ECHO, Slot(9_000), [NODE].into()),
        (third, Slot(9_001), [NODE].into()),
    ];
    world.hearing.follow(owners.into(), at(0));
    assert_eq!(world.poll(0).len(), 3);
    for node in [ECHO, third] {
        world.hearing.handle_opened(node, Ok(LINE), at(10), 0);
    }
    world.run(20, 1_000, &[ECHO]);
    assert_eq!(world.complete(NODE, 900), None, "some of its slots have their echoes at the third one");
    world.run(1_000, 1_600, &[ECHO, third]);
    assert_eq!(world.complete(NODE, 900), None, "that one was silent until now");
    assert!(world.complete(ECHO, 900).is_some());
}

#[test]
fn what_is_not_read_is_probed_as_seldom_as_routine_until_it_is_read() {
    let mut world = World::open();
    world.run(20, 7_000, &[NODE, ECHO]);
    assert_eq!(world.listening(NODE, 7_000), Some(Listening::Open));
    assert_eq!((7_000..18_000).flat_map(|millis| world.probed(millis)).count(), 0);
    world.hearing.handle_use(NODE, at(18_000), at(18_000));
    world.run(18_000, 18_400, &[NODE, ECHO]);
    assert_eq!(world.listening(NODE, 18_400), Some(Listening::Heard));
    assert_eq!(world.listening(ECHO, 18_400), Some(Listening::Heard), "it tells the echoes");
    assert_eq!(world.complete(NODE, 17_999), None);
    world.run(18_400, 25_000, &[NODE, ECHO]);
    world.hearing.handle_use(NODE, at(18_001), at(25_000));
    assert_eq!(world.probed(25_000), [], "that was long ago");
}

#[test]
fn whatever_may_have_changed_before_is_not_complete() {
    let mut world = World::open();
    world.run(20, 1_000, &[NODE]);
    assert_eq!(world.probed(1_220), [NODE]);
    world.hearing.handle_flush(NODE, at(1_250));
    world.answer(NODE, 1_220, Answer::Owner, 1_251);
    assert_eq!(world.complete(NODE, 2_000), None);
    world.run(1_251, 1_600, &[NODE]);
    assert_eq!(world.complete(NODE, 2_000), None, "the last probe but one was sent before");
    world.run(1_600, 1_900, &[NODE]);
    assert!(world.complete(NODE, 2_000).is_some());
    assert_eq!(world.complete(NODE, 1_250), None);
}

#[test]
fn a_connection_that_fails_is_opened_again_ever_less_often_and_heard_anew() {
    let mut world = World::open();
    world.run(20, 1_000, &[NODE, ECHO]);
    let mut opened = Vec::new();
    assert_eq!(world.probed(1_220), [NODE, ECHO]);
    world.answer(ECHO, 1_220, Answer::Owner, 1_220);
    world.answer(NODE, 1_220, Answer::Lost, 1_220);
    for millis in 1_220..20_000 {
        for command in world.poll(millis) {
            if command == (Command::Open { node: NODE }) {
                opened.push(millis);
                world.hearing.handle_opened(NODE, Err(Answer::Lost), at(millis), 0);
            }
        }
    }
    assert_eq!(opened, [1_270, 1_370, 1_570, 1_970, 2_770, 4_370, 7_570, 13_970]);
}

#[test]
fn a_node_that_denies_it_is_asked_again_after_a_while() {
    for denied in [Answer::Dumb, Answer::Refused(ErrorReply::Denied), Answer::Refused(ErrorReply::Other)] {
        let mut world = World::new();
        assert_eq!(world.poll(0).len(), 2);
        world.hearing.handle_opened(NODE, Err(denied), at(10), 0);
        assert_eq!(world.listening(NODE, 10), Some(Listening::Denied));
        world.hearing.handle_opened(ECHO, Ok(LINE), at(10), 0);
        let opens = |world: &mut World, millis| world.poll(millis).contains(&Command::Open { node: NODE });
        assert!(!opens(&mut world, 30_009));
        assert!(opens(&mut world, 30_010));
    }
}

#[test]
fn a_node_in_trouble_is_not_knocked_at() {
    let mut world = World::new();
    world.admits = false;
    assert_eq!(world.poll(0), []);
    assert_eq!(world.poll(100), []);
    world.admits = true;
    assert_eq!(world.poll(200).len(), 2);
}

#[test]
fn what_costs_a_node_too_much_is_given_up_for_a_minute() {
    let mut world = World::open();
    world.run(20, 1_000, &[NODE, ECHO]);
    world.clients = 1_500;
    // 500 routers, each told 29 bells a second, cost the node more than a tenth.
    let told = |world: &mut World, bells: core::ops::Range<u64>| {
        for bell in bells {
            world.hearing.handle_push(NODE, 1_500, at(bell * 34), 0);
        }
    };
    told(&mut world, 0..285);
    assert!(world.complete(NODE, 20).is_some(), "285 are what may be told in ten seconds");
    told(&mut world, 285..286);
    assert_eq!(world.listening(NODE, 9_690), Some(Listening::TooCostly));
    assert_eq!(world.complete(NODE, 20), Some(at(620 + 900)), "as far as its echoes tell");
    assert!(world.poll(9_690).contains(&Command::Close { node: NODE, line: LINE }));
    assert!(!world.poll(60_000).contains(&Command::Open { node: NODE }));
    assert!(world.poll(69_690).contains(&Command::Open { node: NODE }));
}

#[test]
fn bells_are_counted_for_ten_seconds_and_then_anew() {
    let mut world = World::open();
    world.run(20, 1_000, &[NODE, ECHO]);
    // 500 routers; 28 bells a second cost the node less than a tenth.
    for bell in 0..2_000 {
        world.hearing.handle_push(NODE, 1_500, at(bell * 36), 0);
    }
    assert!(world.complete(NODE, 20).is_some());
}

#[test]
fn of_a_burst_no_more_is_heard_than_may_be_told_in_ten_seconds() {
    let mut world = World::open();
    world.run(20, 1_000, &[NODE, ECHO]);
    for bell in 0..286 {
        world.hearing.handle_push(NODE, 1_500, at(1_000 + bell), 0);
    }
    assert_eq!(world.listening(NODE, 1_286), Some(Listening::TooCostly), "after a third of a second");
}

#[test]
fn of_a_large_fleet_nobody_listens() {
    let mut world = World::open();
    world.run(20, 1_000, &[NODE, ECHO]);
    world.clients = 4_500;
    let closed = world.poll(1_220);
    assert_eq!(closed.len(), 2, "{closed:?}");
    assert_eq!(world.listening(NODE, 1_220), Some(Listening::TooCostly));
    assert_eq!(world.poll(70_000), [], "it still is");
    world.clients = 10;
    assert_eq!(world.poll(200_000).len(), 2);
}

#[test]
fn who_owns_no_slots_any_more_is_not_listened_to() {
    let mut world = World::open();
    world.run(20, 1_000, &[NODE, ECHO]);
    world.hearing.follow([(ECHO, Slot(1), [ECHO].into())].into(), at(1_000));
    assert_eq!(world.listening(NODE, 1_000), None);
    assert_eq!(world.poll(1_000), [Command::Close { node: NODE, line: LINE }]);
    assert!(world.complete(ECHO, 20).is_some(), "it was heard all the time");
}

#[test]
fn an_opening_or_a_probe_whose_end_is_never_told_is_given_up() {
    let mut world = World::new();
    assert_eq!(world.poll(0).len(), 2);
    world.hearing.handle_opened(ECHO, Ok(LINE), at(10), 0);
    assert_eq!(world.probed(10), [ECHO]);
    world.poll(1_110);
    assert_eq!(world.listening(ECHO, 1_110), Some(Listening::Closed));
    assert!(world.poll(1_200).contains(&Command::Open { node: NODE }));
    // The first one opens after all, and the second one: one of them is of no use.
    world.hearing.handle_opened(NODE, Ok(LINE), at(1_201), 0);
    world.hearing.handle_opened(NODE, Ok(8), at(1_202), 0);
    assert!(world.poll(1_202).contains(&Command::Close { node: NODE, line: 8 }));
}
