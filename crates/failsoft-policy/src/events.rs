//! Events for operators: a cluster that is not found, nodes lost and back, verdicts, values not written back, the store's
//! breaker, panics.
//! At most one message a second of each kind; what happens in between is gathered into the next one. Whether a node was
//! lost or is back, the last message that names it says what it is.

use crate::cluster::NodeStatus;
use crate::partition::Verdict;
use crate::store::Trouble;
use crate::time::Instant;
use crate::words::{Endpoint, Reason, words};
use crate::write::Cause;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

/// The least time between two messages of one kind.
const PAUSE: Duration = Duration::from_secs(1);

/// How many different subjects one message names; the others are counted only.
pub const MAX_SUBJECTS: usize = 16;

words! {
    /// What a message is about.
    EventKind {
        /// No view of the cluster has come yet, and these nodes gave none: all reads go to the callback.
        NoView = "no_view",
        /// Nodes were closed: they get no reads any more.
        NodeDown = "node_down",
        /// Nodes were opened: they get reads again.
        NodeUp = "node_up",
        /// The verdict on nodes changed: the side of a partition they are on, or that it is unknown.
        Verdict = "verdict",
        /// Loaded values were not written back.
        FillFailed = "fill_failed",
        /// The breaker of the callers' own store has opened: loads are shed.
        StoreDown = "store_down",
        /// It has closed: loads run again.
        StoreUp = "store_up",
        /// The callers' own store is slow: reads make fewer retries, and equal ones share their requests.
        StoreSlow = "store_slow",
        /// It has been fast again for a minute: both are as usual.
        StoreFast = "store_fast",
        /// Something in the background panicked, and goes on: a defect of this library.
        Panicked = "panicked",
    }
}

/// A node that a message names, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The node.
    pub node: Option<Endpoint>,
    /// A reason, a verdict, the cause of a failed fill, or what the store's trouble is, as their enums spell it.
    pub word: Option<&'static str>,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it is about.
    pub kind: EventKind,
    /// How often it happened since the last message of this kind.
    pub count: u64,
    /// The nodes concerned, each once, at most [`MAX_SUBJECTS`].
    pub subjects: Vec<Subject>,
}

#[derive(Default)]
struct Pending {
    count: u64,
    subjects: Vec<Subject>,
    told: Option<Instant>,
}

/// Compares what is seen with what was, and gathers the messages that are due.
#[derive(Default)]
pub struct Journal {
    nodes: BTreeMap<Endpoint, (bool, Verdict)>,
    gave_no_view: BTreeMap<Endpoint, Reason>,
    fills: BTreeMap<&'static str, u64>,
    store: Option<Trouble>,
    opened: u64,
    slow: bool,
    slowed: u64,
    panics: u64,
    pending: [Pending; EventKind::ALL.len()],
}

impl Journal {
    /// The state of all nodes. One that is new and well is no news, and neither is one that is gone.
    pub fn nodes(&mut self, nodes: &[NodeStatus]) {
        let mut known = BTreeMap::new();
        for node in nodes {
            let (down, verdict) = (node.trouble.is_some(), node.verdict);
            let (was_down, before) = self.nodes.get(&node.endpoint).copied().unwrap_or((false, Verdict::Majority));
            if down != was_down {
                if down {
                    self.take_back_up(&node.endpoint);
                }
                let kind = if down { EventKind::NodeDown } else { EventKind::NodeUp };
                self.note(kind, 1, Some(&node.endpoint), node.trouble.map(|(reason, _)| reason.as_str()));
            }
            if verdict != before {
                self.note(EventKind::Verdict, 1, Some(&node.endpoint), Some(verdict.as_str()));
            }
            known.insert(node.endpoint.clone(), (down, verdict));
        }
        self.nodes = known;
    }

    /// Who gave no view when last asked, as long as none has come at all; nobody once one has. One node is named again
    /// only with another reason.
    pub fn without_view(&mut self, refused: BTreeMap<Endpoint, Reason>) {
        for (node, reason) in &refused {
            if self.gave_no_view.get(node) != Some(reason) {
                self.note(EventKind::NoView, 1, Some(node), Some(reason.as_str()));
            }
        }
        self.gave_no_view = refused;
    }

    /// How many fills were not written so far for this cause.
    pub fn fills(&mut self, cause: Cause, count: u64) {
        let more = count.saturating_sub(self.fills.insert(cause.as_str(), count).unwrap_or(0));
        if more > 0 {
            self.note(EventKind::FillFailed, more, None, Some(cause.as_str()));
        }
    }

    /// What the trouble of the store is, if its breaker is not closed, and how often it has opened so far.
    pub fn store(&mut self, trouble: Option<Trouble>, opened: u64) {
        let more = opened - core::mem::replace(&mut self.opened, opened);
        let before = core::mem::replace(&mut self.store, trouble);
        let up = &mut self.pending[EventKind::StoreUp as usize];
        if more > 0 {
            // It is down again before anybody was told that it was back.
            up.count = 0;
            self.note(EventKind::StoreDown, more, None, trouble.or(before).map(Trouble::as_str));
        }
        if trouble.is_none() && (before.is_some() || more > 0) {
            self.pending[EventKind::StoreUp as usize].count += 1;
        }
    }

    /// Whether the store is slow, and how often it has become so.
    pub fn store_pace(&mut self, slow: bool, slowed: u64) {
        let more = slowed - core::mem::replace(&mut self.slowed, slowed);
        let before = core::mem::replace(&mut self.slow, slow);
        let fast = &mut self.pending[EventKind::StoreFast as usize];
        if more > 0 {
            // It is slow again before anybody was told that it was fast.
            fast.count = 0;
            self.pending[EventKind::StoreSlow as usize].count += more;
        }
        if !slow && (before || more > 0) {
            self.pending[EventKind::StoreFast as usize].count += 1;
        }
    }

    /// How many panics were caught so far.
    pub fn panics(&mut self, count: u64) {
        let more = count.saturating_sub(core::mem::replace(&mut self.panics, count));
        self.pending[EventKind::Panicked as usize].count += more;
    }

    /// The messages that are due now.
    pub fn due(&mut self, now: Instant) -> Vec<Event> {
        let (mut due, mut waits) = (Vec::new(), None);
        for (kind, pending) in EventKind::ALL.iter().zip(&mut self.pending) {
            if pending.count == 0 {
                continue;
            }
            let early = pending.told.is_some_and(|told| now < told + PAUSE);
            // A node may be in both: that it was lost has to be told first. So has it of the store.
            let after = match kind {
                EventKind::NodeUp => Some(EventKind::NodeDown),
                EventKind::StoreUp => Some(EventKind::StoreDown),
                EventKind::StoreFast => Some(EventKind::StoreSlow),
                _ => None,
            };
            if early || (after.is_some() && after == waits) {
                waits = Some(*kind);
                continue;
            }
            let told = core::mem::replace(pending, Pending { told: Some(now), ..Pending::default() });
            due.push(Event { kind: *kind, count: told.count, subjects: told.subjects });
        }
        due
    }

    /// A node that is lost again before anybody was told that it was back.
    fn take_back_up(&mut self, node: &Endpoint) {
        let up = &mut self.pending[EventKind::NodeUp as usize];
        let before = up.subjects.len();
        up.subjects.retain(|subject| subject.node.as_ref() != Some(node));
        up.count -= (before - up.subjects.len()) as u64;
    }

    fn note(&mut self, kind: EventKind, count: u64, node: Option<&Endpoint>, word: Option<&'static str>) {
        let pending = &mut self.pending[kind as usize];
        pending.count += count;
        let subject = Subject { node: node.cloned(), word };
        // The newest comes last: of two verdicts on a node, that is the one that holds.
        pending.subjects.retain(|known| *known != subject);
        if pending.subjects.len() < MAX_SUBJECTS {
            pending.subjects.push(subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{NodeReport, Role};
    use crate::words::NodeKey;
    use alloc::vec;

    fn status(port: u16, trouble: Option<Reason>, verdict: Verdict) -> NodeStatus {
        NodeStatus {
            key: NodeKey { index: port.into(), generation: 0 },
            id: None,
            endpoint: Endpoint { host: "h".into(), port },
            role: Role::Primary,
            epoch: 1,
            slots: 1,
            breaker: "closed",
            trouble: trouble.map(|reason| (reason, Duration::ZERO)),
            contact: None,
            lag: None,
            validated: true,
            failed: false,
            verdict,
            listening: None,
            tracking: None,
            events: None,
            report: NodeReport::default(),
        }
    }

    /// What is told of nodes that get reads or, with a reason, get none: kinds, counts and ports.
    fn told(journal: &mut Journal, at: Duration, nodes: &[(u16, Option<Reason>)]) -> Vec<(EventKind, u64, Vec<u16>)> {
        let nodes: Vec<_> = nodes.iter().map(|&(port, trouble)| status(port, trouble, Verdict::Majority)).collect();
        journal.nodes(&nodes);
        let ports =
            |event: &Event| event.subjects.iter().flat_map(|subject| &subject.node).map(|node| node.port).collect();
        journal.due(Instant::ZERO + at).iter().map(|event| (event.kind, event.count, ports(event))).collect()
    }

    #[test]
    fn a_node_is_told_to_be_back_after_it_was_told_to_be_lost() {
        let (mut journal, lost) = (Journal::default(), Some(Reason::Timeout));
        let (down, up) = (EventKind::NodeDown, EventKind::NodeUp);
        assert_eq!(told(&mut journal, Duration::ZERO, &[(1, lost), (2, None)]), [(down, 1, vec![1])]);
        // The second is lost and back within the pause of the first message.
        assert_eq!(told(&mut journal, PAUSE / 4, &[(1, lost), (2, lost)]), []);
        assert_eq!(told(&mut journal, PAUSE / 2, &[(1, lost), (2, None)]), []);
        let both = [(down, 1, vec![2]), (up, 1, vec![2])];
        assert_eq!(told(&mut journal, PAUSE, &[(1, lost), (2, None)]), both);
    }

    #[test]
    fn a_node_that_is_lost_again_is_not_told_to_be_back() {
        let (mut journal, lost) = (Journal::default(), Some(Reason::Timeout));
        let (down, up) = (EventKind::NodeDown, EventKind::NodeUp);
        assert_eq!(told(&mut journal, Duration::ZERO, &[(1, lost), (2, lost), (3, lost)]), [(down, 3, vec![1, 2, 3])]);
        assert_eq!(told(&mut journal, PAUSE, &[(1, None), (2, lost), (3, lost)]), [(up, 1, vec![1])]);
        // Both are back within the pause of that message, and one is lost again.
        assert_eq!(told(&mut journal, PAUSE * 5 / 4, &[(1, None), (2, None), (3, None)]), []);
        assert_eq!(told(&mut journal, PAUSE * 3 / 2, &[(1, None), (2, lost), (3, None)]), [(down, 1, vec![2])]);
        assert_eq!(told(&mut journal, PAUSE * 2, &[(1, None), (2, lost), (3, None)]), [(up, 1, vec![3])]);
    }

    #[test]
    fn the_last_verdict_on_a_node_is_the_one_that_holds() {
        let mut journal = Journal::default();
        journal.nodes(&[status(1, None, Verdict::Unknown)]);
        let [_] = <[Event; 1]>::try_from(journal.due(Instant::ZERO)).expect("one");
        for verdict in [Verdict::Majority, Verdict::Unknown, Verdict::Majority] {
            journal.nodes(&[status(1, None, verdict)]);
        }
        let [event] = <[Event; 1]>::try_from(journal.due(Instant::ZERO + PAUSE)).expect("one");
        let words: Vec<_> = event.subjects.iter().flat_map(|subject| subject.word).collect();
        assert_eq!((event.count, words), (3, vec!["unknown", "majority"]));
    }

    #[test]
    fn one_message_a_second_gathers_what_happened_meanwhile() {
        let mut journal = Journal::default();
        let start = Instant::ZERO;
        journal.fills(Cause::Busy, 3);
        let busy = Subject { node: None, word: Some("busy") };
        let first = Event { kind: EventKind::FillFailed, count: 3, subjects: vec![busy.clone()] };
        assert_eq!(journal.due(start), [first]);
        journal.fills(Cause::Busy, 5);
        journal.fills(Cause::Denied, 1);
        assert_eq!(journal.due(start + PAUSE / 2), []);
        let denied = Subject { node: None, word: Some("denied") };
        let second = Event { kind: EventKind::FillFailed, count: 3, subjects: vec![busy, denied] };
        assert_eq!(journal.due(start + PAUSE), [second]);
        journal.fills(Cause::Busy, 5);
        assert_eq!(journal.due(start + PAUSE * 10), [], "nothing new");
    }

    #[test]
    fn a_node_that_gives_no_view_is_named_once_for_each_reason() {
        let mut journal = Journal::default();
        let node = Endpoint { host: "h".into(), port: 1 };
        let gave_none = |reason| BTreeMap::from([(node.clone(), reason)]);
        let told = |word| {
            let subjects = vec![Subject { node: Some(node.clone()), word: Some(word) }];
            [Event { kind: EventKind::NoView, count: 1, subjects }]
        };
        journal.without_view(gave_none(Reason::Connection));
        assert_eq!(journal.due(Instant::ZERO), told("connection"));
        journal.without_view(gave_none(Reason::Connection));
        assert_eq!(journal.due(Instant::ZERO + PAUSE), [], "it is known");
        journal.without_view(gave_none(Reason::ErrorReply));
        assert_eq!(journal.due(Instant::ZERO + PAUSE), told("error_reply"));
        journal.without_view(BTreeMap::new());
        journal.without_view(gave_none(Reason::ErrorReply));
        assert_eq!(journal.due(Instant::ZERO + PAUSE * 2), told("error_reply"), "a view had come meanwhile");
    }

    #[test]
    fn that_the_store_is_back_is_told_after_it_was_told_to_be_down() {
        let (mut journal, start) = (Journal::default(), Instant::ZERO);
        let told = |journal: &mut Journal, at| -> Vec<(EventKind, u64, Option<&str>)> {
            let word = |event: &Event| event.subjects.first().and_then(|subject| subject.word);
            journal.due(at).iter().map(|event| (event.kind, event.count, word(event))).collect()
        };
        journal.store(None, 0);
        assert_eq!(told(&mut journal, start), []);
        journal.store(Some(Trouble::Slow), 1);
        assert_eq!(told(&mut journal, start), [(EventKind::StoreDown, 1, Some("slow"))]);
        // Closed, and open once more, within the pause of that message.
        journal.store(None, 1);
        journal.store(Some(Trouble::Failing), 2);
        journal.store(None, 2);
        assert_eq!(told(&mut journal, start + PAUSE / 2), []);
        let both = [(EventKind::StoreDown, 1, Some("failing")), (EventKind::StoreUp, 1, None)];
        assert_eq!(told(&mut journal, start + PAUSE), both);
        // It opens again and again without closing.
        journal.store(Some(Trouble::Failing), 3);
        journal.store(Some(Trouble::Failing), 5);
        assert_eq!(told(&mut journal, start + PAUSE * 2), [(EventKind::StoreDown, 3, Some("failing"))]);
        journal.store(None, 5);
        journal.store(Some(Trouble::Slow), 6);
        assert_eq!(told(&mut journal, start + PAUSE * 3), [(EventKind::StoreDown, 1, Some("slow"))], "it is not back");
    }

    #[test]
    fn that_the_store_is_slow_is_told_and_then_that_it_is_fast() {
        let (mut journal, start) = (Journal::default(), Instant::ZERO);
        let told = |journal: &mut Journal, at| -> Vec<(EventKind, u64)> {
            journal.due(at).iter().map(|event| (event.kind, event.count)).collect()
        };
        journal.store_pace(false, 0);
        assert_eq!(told(&mut journal, start), []);
        journal.store_pace(true, 1);
        assert_eq!(told(&mut journal, start), [(EventKind::StoreSlow, 1)]);
        journal.store_pace(false, 1);
        assert_eq!(told(&mut journal, start), [(EventKind::StoreFast, 1)]);
        // Slow and fast again between two looks.
        journal.store_pace(false, 2);
        assert_eq!(told(&mut journal, start + PAUSE), [(EventKind::StoreSlow, 1), (EventKind::StoreFast, 1)]);
        // It was fast, and is slow again before anybody was told.
        journal.store_pace(true, 3);
        assert_eq!(told(&mut journal, start + PAUSE * 2), [(EventKind::StoreSlow, 1)]);
        journal.store_pace(false, 3);
        journal.store_pace(true, 4);
        assert_eq!(told(&mut journal, start + PAUSE * 3), [(EventKind::StoreSlow, 1)]);
    }

    #[test]
    fn panics_are_counted_and_name_nobody() {
        let mut journal = Journal::default();
        journal.panics(0);
        assert_eq!(journal.due(Instant::ZERO), []);
        journal.panics(2);
        journal.panics(2);
        let told = Event { kind: EventKind::Panicked, count: 2, subjects: Vec::new() };
        assert_eq!(journal.due(Instant::ZERO), [told]);
    }

    #[test]
    fn a_message_names_a_bounded_number_of_subjects() {
        let mut journal = Journal::default();
        for port in 1..=100 {
            let node = Endpoint { host: "h".into(), port };
            journal.note(EventKind::NodeDown, 1, Some(&node), Some("timeout"));
        }
        let [event] = <[Event; 1]>::try_from(journal.due(Instant::ZERO)).expect("one");
        assert_eq!((event.count, event.subjects.len()), (100, MAX_SUBJECTS));
    }
}
