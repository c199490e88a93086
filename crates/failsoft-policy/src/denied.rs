//! Which questions of the control plane a node has refused, for how long they are not put again, what counts as
//! refusing, and what a node's report lacks for it.
//!
//! No question is necessary, and a server that lacks one says so each time, in words of its own; so it is asked
//! again only now and then, since rights may be given. Questions are opaque: the driver has a name for each.

use crate::reply::{ErrorReply, classify, is_cluster_disabled};
use crate::time::Instant;
use crate::view::NodeReport;
use crate::words::Endpoint;
use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use core::time::Duration;

/// The number of refresh intervals after which a refused question is put again.
const ASKED_AGAIN_AFTER: u32 = 4;
/// But not sooner than this.
const SOONEST: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
struct Denial {
    line: String,
    until: Instant,
}

/// See the module. By node and question; no more than the known nodes and the kinds of questions.
#[derive(Clone, Debug)]
pub struct Denied<Q> {
    pause: Duration,
    known: BTreeMap<Endpoint, BTreeMap<Q, Denial>>,
}

impl<Q: Copy + Ord> Denied<Q> {
    /// Nothing was refused yet; `interval` is the `slot_refresh_interval`.
    pub fn new(interval: Duration) -> Self {
        Self { pause: pause(interval), known: BTreeMap::new() }
    }

    /// A question that was put at `asked_at` was answered, or with this error line. Only a refusal that would come
    /// again counts: the command is unknown, or not allowed.
    pub fn handle_answer(&mut self, node: &Endpoint, question: Q, error: Option<&str>, asked_at: Instant) {
        match error {
            Some(line) if is_for_good(line) => {
                let denial = Denial { line: line.to_owned(), until: asked_at + self.pause };
                self.known.entry(node.clone()).or_default().insert(question, denial);
            }
            Some(_) => {}
            None => {
                if let Some(of) = self.known.get_mut(node) {
                    of.remove(&question);
                }
            }
        }
    }

    /// The error line with which the node would refuse a question, which is not to be put now.
    pub fn line(&self, node: &Endpoint, question: Q, now: Instant) -> Option<&str> {
        self.known.get(node)?.get(&question).filter(|denial| now < denial.until).map(|denial| denial.line.as_str())
    }

    /// Whether the node refused this when it was last asked.
    pub fn has(&self, node: &Endpoint, question: Q) -> bool {
        self.known.get(node).is_some_and(|of| of.contains_key(&question))
    }

    /// Whether the node refused all of these when they were last asked.
    pub fn has_all(&self, node: &Endpoint, questions: &[Q]) -> bool {
        questions.iter().all(|question| self.has(node, *question))
    }

    /// The node gave nothing at all: it may be starting rather than lack commands, and is asked everything again.
    pub fn clear(&mut self, node: &Endpoint) {
        self.known.remove(node);
    }

    /// These nodes are known; the others are forgotten.
    pub fn keep_only(&mut self, nodes: &BTreeSet<&Endpoint>) {
        self.known.retain(|node, _| nodes.contains(node));
    }
}

/// How long a refused question is not put again.
pub(crate) fn pause(interval: Duration) -> Duration {
    (interval * ASKED_AGAIN_AFTER).max(SOONEST)
}

/// Whether the same question would be refused again. The words for that are many.
fn is_for_good(line: &str) -> bool {
    match classify(line) {
        ErrorReply::Other => !is_cluster_disabled(line),
        ErrorReply::Denied => line.starts_with("NOPERM"),
        _ => false,
    }
}

/// What a report lacks because its node refused a command. The command is listed in `denied`.
impl NodeReport {
    /// `CLUSTER INFO` was answered with this error line; false if the server says so that it has no cluster mode. It may
    /// merely not be willing yet: `INFO` is answered while the data set is loaded.
    pub fn lack_cluster_info(&mut self, command: &'static str, line: &str) -> bool {
        if is_cluster_disabled(line) {
            return false;
        }
        match classify(line) {
            ErrorReply::Unwilling => self.loading = true,
            _ => self.denied.push(command),
        }
        true
    }

    /// The question for the id was answered with this error line.
    pub fn lack_id(&mut self, command: &'static str, line: &str) {
        if classify(line) != ErrorReply::Unwilling {
            self.denied.push(command);
        }
    }

    /// `INFO` was refused: role and id come from another command, no offset does.
    pub fn lack_info(&mut self, command: &'static str) {
        self.denied.push(command);
    }

    /// Both commands that tell a map without epochs are refused; the one that is listed is the cheaper to allow.
    pub fn lack_maps(&mut self, cheaper: &'static str) {
        self.denied.push(cheaper);
    }

    /// No view tells epochs: the node's own cannot be compared with any.
    pub fn lack_epochs(&mut self, command: &'static str) {
        self.denied.push(command);
        self.my_epoch = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Reason;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    enum Question {
        Info,
        Role,
    }
    use Question::{Info, Role};

    const INTERVAL: Duration = Duration::from_secs(1);

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn what_was_refused_is_asked_again_later() {
        let (mut denied, node) = (Denied::new(INTERVAL), Endpoint { host: "a".to_owned(), port: 1 });
        denied.handle_answer(&node, Info, Some("NOPERM no"), at(100));
        let lines =
            |denied: &Denied<Question>, ms| [Info, Role].map(|q| denied.line(&node, q, at(ms)).map(str::to_owned));
        assert_eq!(lines(&denied, 4099), [Some("NOPERM no".to_owned()), None]);
        assert_eq!(lines(&denied, 4100), [None, None]);
        assert!(denied.has(&node, Info), "until it is answered");
        assert!(denied.has_all(&node, &[Info]) && !denied.has_all(&node, &[Info, Role]));
        denied.handle_answer(&node, Info, None, at(4100));
        assert!(!denied.has(&node, Info));
        denied.handle_answer(&node, Role, Some("ERR unknown command"), at(5000));
        denied.keep_only(&BTreeSet::new());
        assert_eq!(lines(&denied, 5001), [None, None], "the node is no longer known");
    }

    #[test]
    fn what_was_refused_costs_what_needs_it() {
        let told = |line| {
            let mut report = NodeReport { cluster_ok: true, my_epoch: Some(7), ..NodeReport::default() };
            let goes_on = report.lack_cluster_info("CLUSTER INFO", line);
            report.lack_id("CLUSTER MYID", line);
            (goes_on, report.unready(), report.denied, report.my_epoch)
        };
        let both = ["CLUSTER INFO", "CLUSTER MYID"].to_vec();
        assert_eq!(told("NOPERM no"), (true, None, both.clone(), Some(7)));
        assert_eq!(told("ERR unknown subcommand"), (true, None, both, Some(7)));
        assert_eq!(told("LOADING it is"), (true, Some(Reason::Loading), [].to_vec(), Some(7)));
        assert!(!told("ERR This instance has cluster support disabled").0);
        let mut report = NodeReport { my_epoch: Some(7), ..NodeReport::default() };
        report.lack_epochs("CLUSTER NODES");
        assert_eq!((report.denied, report.my_epoch), (["CLUSTER NODES"].to_vec(), None));
    }

    #[test]
    fn only_what_would_be_refused_again_counts() {
        let node = Endpoint { host: "a".to_owned(), port: 1 };
        for (line, counts) in [
            ("ERR unknown command 'ROLE'", true),
            ("unsupported command 'role'", true),
            ("NOPERM this user has no permissions", true),
            ("NOAUTH Authentication required.", false),
            ("LOADING Redis is loading the dataset in memory", false),
            ("ERR max number of clients reached", false),
            ("CLUSTERDOWN The cluster is down", false),
            ("ERR This instance has cluster support disabled", false),
        ] {
            let mut denied = Denied::new(INTERVAL);
            denied.handle_answer(&node, Role, Some(line), at(0));
            assert_eq!(denied.has(&node, Role), counts, "{line}");
        }
    }
}
