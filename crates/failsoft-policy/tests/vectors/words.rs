//! Words to values and back: nodes, answers, actions, routes and commands as the vectors write them.

use failsoft_policy::action::{Action, Answer, Finish};
use failsoft_policy::cluster::{Blocked, Cluster, Command, WriteGate};
use failsoft_policy::reply::classify;
use failsoft_policy::route::{Route, Source};
use failsoft_policy::view::{NodeReport, Role, ViewNode};
use failsoft_policy::wire::Filled;
use failsoft_policy::write::{Batch, Which, WriteAction};
use failsoft_policy::{Endpoint, Instant, NodeKey, Reason, ServedBy};
use std::collections::BTreeMap;
use std::time::Duration;

/// The node called `name` listens at `name:7000`, and its node id is its name.
pub(crate) fn endpoint(name: &str) -> Endpoint {
    match name.rsplit_once(':') {
        Some((host, port)) => Endpoint { host: host.into(), port: port.parse().expect("a port") },
        None => Endpoint { host: name.into(), port: 7000 },
    }
}

/// The inverse of [`endpoint`].
pub(crate) fn name_of(endpoint: &Endpoint) -> String {
    if endpoint.port == 7000 { endpoint.host.clone() } else { endpoint.to_string() }
}

/// `primary 0-100,200 epoch 3 [failed]` or `replica of p1 epoch 3 [at p9]`.
pub(crate) fn view_node(id: &str, text: &str, epochs: bool) -> ViewNode {
    let mut node = ViewNode {
        id: id.into(),
        endpoint: Some(endpoint(id)),
        role: Role::Primary,
        slots: vec![],
        epoch: None,
        failed: false,
        suspected: false,
    };
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        match word {
            "primary" => node.role = Role::Primary,
            "replica" => node.role = Role::Replica(None),
            "of" => node.role = Role::Replica(words.next().map(String::from)),
            "epoch" => node.epoch = words.next().map(|e| e.parse().expect("an epoch")).filter(|_| epochs),
            "failed" => node.failed = true,
            "suspected" => node.suspected = epochs,
            "at" => node.endpoint = words.next().map(endpoint),
            "nowhere" => node.endpoint = None,
            ranges => {
                for range in ranges.split(',') {
                    let (a, b) = range.split_once('-').unwrap_or((range, range));
                    let number = |n: &str| n.parse().unwrap_or_else(|_| panic!("no slot: {n} in {text:?}"));
                    node.slots.push((number(a), number(b)));
                }
            }
        }
    }
    node
}

/// `primary epoch 1`, `replica epoch 1 offset 5 link down 300 priority 0`, `loading`, `cluster_down`, `id x`.
pub(crate) fn report(id: Option<String>, text: &str) -> NodeReport {
    let mut report = NodeReport { id, cluster_ok: true, ..NodeReport::default() };
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|w| w.parse::<u64>().ok());
        match word {
            "primary" => report.primary = true,
            "replica" => report.primary = false,
            "epoch" => report.my_epoch = number(),
            "offset" => report.offset = number(),
            "history" => report.history = number().map(u128::from),
            "priority" => report.priority = number().map(|p| p as u32),
            "standalone" => (report.standalone, report.id) = (true, None),
            "loading" => report.loading = true,
            "cluster_down" => report.cluster_ok = false,
            "pfail" => report.slots_pfail = number().map(|n| n as u32),
            "fail" => report.slots_fail = number().map(|n| n as u32),
            "current_epoch" => report.current_epoch = number(),
            "link_up" => report.link_up = Some(true),
            "link_down" => report.link_up = Some(false),
            "clients" => report.clients = number(),
            "link_down_ms" => {
                report.link_up = Some(false);
                report.link_down_for = number().map(Duration::from_millis);
            }
            "id" => report.id = words.next().map(String::from),
            other => panic!("no word of a report: {other}"),
        }
    }
    report
}

/// `value`, `nil`, `timeout`, `connection`, `protocol`, `saturated`, `refused <error line>` or an error line.
pub(crate) fn answer(text: &str) -> Answer {
    match text {
        "value" => Answer::Value,
        "nil" => Answer::Nil,
        "timeout" => Answer::Timeout,
        "hung" => Answer::Hung,
        "closed" => Answer::Closed,
        "connection" => Answer::Connection,
        "stranger" => Answer::Stranger,
        "protocol" => Answer::Protocol,
        "saturated" => Answer::Saturated,
        line => match line.strip_prefix("refused ") {
            Some(line) => Answer::Refused(classify(line)),
            None => Answer::Error(classify(line)),
        },
    }
}

/// What a script returned, if it is a word for that.
pub(crate) fn returned(text: &str) -> Option<Filled> {
    match text {
        "filled" | "done" => Some(Filled::Written),
        "lease_gone" => Some(Filled::LeaseGone),
        "exists" => Some(Filled::Exists),
        _ => None,
    }
}

pub(crate) fn reason(word: &str) -> Reason {
    *Reason::ALL.iter().find(|r| r.as_str() == word).unwrap_or_else(|| panic!("no reason: {word}"))
}

/// Names of nodes by their keys, kept after a node is forgotten.
#[derive(Default)]
pub(crate) struct Names(BTreeMap<NodeKey, String>);

impl Names {
    pub(crate) fn learn(&mut self, cluster: &Cluster) {
        for (key, endpoint) in cluster.endpoints() {
            self.0.insert(key, name_of(endpoint));
        }
    }

    pub(crate) fn of(&self, key: NodeKey) -> &str {
        self.0.get(&key).map_or("?", String::as_str)
    }

    pub(crate) fn action(&self, action: &Action) -> String {
        match action {
            Action::Send { node, source, asking, marked, renew, until, .. } => {
                let source = if *source == Source::Primary { "primary" } else { "replica" };
                let marked = if *marked { " with its mark" } else { "" };
                format!("send {} {source}{}{marked} until {}", self.of(*node), how(*asking, *renew), ms(*until))
            }
            Action::Wait { until } => format!("wait until {}", ms(*until)),
            Action::Load { reason, confirmed: Some(by) } => format!("load {reason} confirmed by {}", self.of(*by)),
            Action::Load { reason, confirmed: None } => format!("load {reason}"),
            Action::Finish(Finish::Value { served_by, node, reason, current_at }) => {
                let because = reason.map_or(String::new(), |r| format!(" because {r}"));
                let dated = current_at.map_or(" of unknown age".into(), |at| format!(" as of {}", ms(at)));
                let dated = if *served_by == ServedBy::Replica { dated } else { String::new() };
                format!("value {served_by} {}{dated}{because}", self.of(*node))
            }
            Action::Finish(Finish::Stale { reason }) => {
                format!("stale{}", reason.map_or(String::new(), |r| format!(" because {r}")))
            }
            Action::Finish(Finish::Missing { reason }) => format!("missing {reason}"),
            Action::Finish(Finish::Unavailable { reason }) => format!("unavailable {reason}"),
            Action::Finish(Finish::DeadlineExceeded) => "deadline_exceeded".into(),
        }
    }

    pub(crate) fn write_action(&self, action: WriteAction) -> String {
        match action {
            WriteAction::Ping { node, until } => format!("ping {} until {}", self.of(node), ms(until)),
            WriteAction::Send { node, batch, asking, renew, until, .. } => {
                let batch = match batch {
                    Batch::Set => "set at",
                    Batch::Delete => "delete at",
                    Batch::DeleteAndMark => "delete and mark at",
                    Batch::Mark => "mark at",
                    Batch::Lift => "lift at",
                    Batch::Log => "log at",
                };
                format!("{batch} {}{} until {}", self.of(node), how(asking, renew), ms(until))
            }
            WriteAction::Run { node, script, asking, renew, with_text, until, .. } => {
                let script = match script {
                    Which::Put => "send",
                    Which::Lease => "lease",
                    Which::Fill => "fill",
                    Which::Invalidate => "invalidate",
                    Which::Mark => "announce",
                    Which::Hold => "hold",
                    Which::Prolong => "prolong",
                    Which::Release => "release",
                };
                let with_text = if with_text { " with its script" } else { "" };
                format!("{script} {}{}{with_text} until {}", self.of(node), how(asking, renew), ms(until))
            }
            WriteAction::Wait { until } => format!("wait until {}", ms(until)),
            WriteAction::Written => "written".into(),
            WriteAction::Refused(cause) => format!("refused {cause}"),
        }
    }

    pub(crate) fn route(&self, route: Route) -> String {
        match route {
            Route::Primary { node, backed } => {
                format!("primary {}{}", self.of(node), if backed { " backed" } else { "" })
            }
            Route::Readmitting { node, permille, replica, reason } => {
                format!("readmitting {} {permille} else {} because {reason}", self.of(node), self.of(replica.node))
            }
            Route::Replica { replica, reason } => {
                format!("replica {} until {} because {reason}", self.of(replica.node), ms(replica.until))
            }
            Route::Secondary { reason } => format!("secondary because {reason}"),
            Route::Await { until } => format!("await until {}", ms(until)),
        }
    }

    pub(crate) fn gate(&self, gate: WriteGate) -> String {
        match gate {
            WriteGate::Open(node) => format!("open {}", self.of(node)),
            WriteGate::InDoubt(node) => format!("in doubt {}", self.of(node)),
            WriteGate::NeedsContact(node) => format!("needs contact {}", self.of(node)),
            WriteGate::NeedsProof(node) => format!("needs proof {}", self.of(node)),
            WriteGate::Closed(Blocked::Uncovered) => "closed uncovered".into(),
            WriteGate::Closed(Blocked::NoView) => "closed no_view".into(),
            WriteGate::Closed(Blocked::Trouble(reason)) => format!("closed {reason}"),
        }
    }

    pub(crate) fn command(&self, command: &Command) -> String {
        match command {
            Command::Close { node } => format!("close {}", self.of(*node)),
            Command::Refresh { round: _, targets, epochs } => {
                let targets: Vec<String> = targets.iter().map(name_of).collect();
                format!("refresh {}{}", targets.join(" "), if *epochs { " with epochs" } else { "" })
            }
            Command::Probe { node, witness: Some(witness), .. } => {
                format!("probe {} witness {}", self.of(*node), name_of(witness))
            }
            Command::Probe { node, witness: None, .. } => format!("probe {}", self.of(*node)),
        }
    }
}

fn how(asking: bool, renew: bool) -> &'static str {
    match (asking, renew) {
        (true, _) => " asking",
        (false, true) => " renewed",
        (false, false) => "",
    }
}

fn ms(at: Instant) -> String {
    let nanos = at.as_nanos();
    if nanos.is_multiple_of(1_000_000) { (nanos / 1_000_000).to_string() } else { format!("{}us", nanos / 1000) }
}
