//! The scenario files: what they may say, in types. Unknown fields are errors. The README explains each.

use crate::check::{Check, Expect};
use crate::real::{Fault, Real};
use crate::value::{Number, Text};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    theme: String,
    // Taken as plain values first: in YAML, Rust's enums are tags, which nobody wants to write.
    clusters: BTreeMap<String, Value>,
    scenarios: Vec<Value>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// One of the file's clusters.
    cluster: String,
    #[serde(default)]
    pub(crate) config: Config,
    /// Whether the router `main` is opened before the first step.
    #[serde(default = "yes")]
    pub(crate) open: bool,
    /// Whether it is run on each server, and not on the first one only.
    #[serde(default)]
    pub(crate) each_server: bool,
    /// What a binding has to be able to do, beyond what the steps tell by themselves.
    #[serde(default)]
    needs: Vec<String>,
    pub(crate) steps: Vec<Step>,
    #[serde(skip)]
    pub(crate) theme: String,
    #[serde(skip, default = "Shape::none")]
    pub(crate) shape: Shape,
}

pub(crate) type Config = BTreeMap<String, Value>;

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Shape {
    /// Nodes that answer as they are told.
    Scripted(BTreeMap<String, NodeShape>),
    /// Real servers `n0`, `n1`, …: first the primaries, then their replicas.
    Real(Real),
}

/// One node of a scripted cluster, as the topology has it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NodeShape {
    /// `0-8191`, several parted by commas.
    pub(crate) slots: Option<String>,
    pub(crate) epoch: u64,
    /// Its primary, if it is a replica.
    pub(crate) of: Option<String>,
    pub(crate) flags: Vec<String>,
    /// Runs, but no view names it.
    pub(crate) stranger: bool,
    /// Without cluster mode.
    pub(crate) standalone: bool,
    /// Does not know HELLO.
    pub(crate) resp2: bool,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Step {
    // Scripted nodes.
    Script(Script),
    ClearScript(String),
    Store {
        node: String,
        key: Text,
        value: Option<Text>,
    },
    Info {
        node: String,
        field: String,
        value: String,
    },
    Refuse(String),
    Listen(String),
    Tell(Tell),
    // Real clusters.
    Fault(Fault),
    Migrate(Migrate),
    // Calls.
    Open(Open),
    Call(Box<Call>),
    Start(Box<Start>),
    Finish(Box<Finish>),
    Cancel {
        calls: String,
        index: usize,
    },
    Release,
    Close,
    // What is to be seen.
    Mark,
    Wait(Check),
    Check(Check),
    // Readers that never stop.
    Load(LoadShape),
    /// So many reads end.
    Reads(usize),
    Until(Seen),
    Label(String),
    Stop(Stop),
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Script {
    pub(crate) node: String,
    pub(crate) command: String,
    pub(crate) key: Option<Text>,
    /// For so many calls; without it, for good.
    pub(crate) next: Option<u32>,
    pub(crate) does: Does,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Does {
    Normal,
    Reply(Text),
    Error(String),
    Value(Text),
    Nil,
    Array,
    Silence,
    Close,
    Garbage,
    HalfReply,
    HugeHeader,
    Delay { ms: u64, then: Box<Does> },
}

/// What nodes say of the cluster from now on.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tell {
    /// Who says it; without it, all.
    pub(crate) by: Option<Vec<String>>,
    pub(crate) nodes: BTreeMap<String, NodeShape>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Migrate {
    Begin { slot_of: Text, from: String, to: String },
    MoveKeys,
    Finish,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Open {
    #[serde(default = "main")]
    pub(crate) router: String,
    /// Seeds; without them, every node.
    pub(crate) nodes: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) config: Config,
    #[serde(default)]
    pub(crate) expect: Expect,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Call {
    #[serde(default = "main")]
    pub(crate) router: String,
    // Exactly one of these.
    pub(crate) get: Option<Text>,
    pub(crate) resolve: Option<Text>,
    pub(crate) get_many: Option<Vec<Text>>,
    pub(crate) resolve_many: Option<Vec<Text>>,
    pub(crate) set: Option<Text>,
    pub(crate) invalidate: Option<Vec<Text>>,
    pub(crate) last_invalidation: Option<Text>,
    pub(crate) within_staleness_budget: Option<Text>,
    pub(crate) ready_ms: Option<u64>,
    // What belongs to them.
    pub(crate) value: Option<Text>,
    pub(crate) fallback: Option<Fallback>,
    pub(crate) recompute: Option<Fallback>,
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) deadline_ms: Option<u64>,
    pub(crate) staleness_budget_ms: Option<u64>,
    pub(crate) max_age_ms: Option<u64>,
    #[serde(default)]
    pub(crate) expect: Expect,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    #[serde(rename = "as")]
    pub(crate) name: String,
    #[serde(default = "one")]
    pub(crate) times: usize,
    pub(crate) call: Call,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Finish {
    pub(crate) calls: String,
    /// Of each of them.
    #[serde(default)]
    pub(crate) expect: Expect,
    /// How many of them another one's work served.
    pub(crate) coalesced: Option<Number>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Fallback {
    Value(Text),
    Echo,
    Missing,
    Mapping(BTreeMap<String, Text>),
    Error(String),
    Panic(String),
    WrongType,
    Never,
    Hold(Box<Fallback>),
    Slow { ms: u64, then: Box<Fallback> },
    Ask { key: Text, fallback: Box<Fallback> },
    Invalidate { keys: Vec<Text>, then: Box<Fallback> },
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoadShape {
    pub(crate) keys: usize,
    pub(crate) readers: usize,
    /// Only keys in the slot of this one, and keys of other shards.
    pub(crate) slot_of: Option<Text>,
    /// The keys are not set first: reads miss, and what they load is written back.
    #[serde(default)]
    pub(crate) absent: bool,
}

/// Which reads of the load are meant: those that match every field.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Seen {
    /// By the key's slot; as the test kit deals the slots out.
    pub(crate) shard: Option<usize>,
    pub(crate) slot_of: Option<Text>,
    pub(crate) served_by: Option<String>,
    /// All that were served by another source.
    pub(crate) not_served_by: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) node: Option<String>,
    pub(crate) attempts: Option<Number>,
    /// Begun after this label.
    pub(crate) after: Option<String>,
    /// Begun before this label.
    pub(crate) before: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stop {
    /// Beside this: no read failed.
    #[serde(default)]
    pub(crate) expect: Vec<Counted>,
    /// Attempts after the first of each read, of a hundred reads.
    pub(crate) extra_attempts_percent: Option<Number>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counted {
    pub(crate) count: Number,
    pub(crate) of: Seen,
}

impl Shape {
    fn none() -> Self {
        Self::Scripted(BTreeMap::new())
    }
}

impl Scenario {
    pub(crate) fn is_real(&self) -> bool {
        matches!(self.shape, Shape::Real(_))
    }

    /// What a binding has to be able to do.
    pub(crate) fn needs(&self) -> Vec<&str> {
        let mut needs: Vec<_> = self.needs.iter().map(String::as_str).collect();
        for step in &self.steps {
            match step {
                Step::Cancel { .. } => needs.push("cancel"),
                Step::Call(call) => needs.extend(call.needs()),
                Step::Start(start) => needs.extend(start.call.needs()),
                _ => {}
            }
        }
        needs
    }

    /// Whether the cluster is another one afterwards.
    pub(crate) fn breaks_its_cluster(&self) -> bool {
        let harmless = |fault: &Fault| matches!(fault, Fault::Command { .. } | Fault::WaitUntilOk);
        self.steps.iter().any(|step| match step {
            Step::Fault(fault) => !harmless(fault),
            Step::Migrate(_) => true,
            _ => false,
        })
    }
}

impl Call {
    fn needs(&self) -> Option<&'static str> {
        match self.fallback {
            Some(Fallback::WrongType) => Some("wrong_type"),
            Some(Fallback::Panic(_)) => Some("panic"),
            _ => None,
        }
    }
}

/// All scenarios of a folder, by the names of the files.
pub(crate) fn load(folder: &Path) -> Result<Vec<Scenario>, String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    let mut scenarios: Vec<Scenario> = Vec::new();
    for file in files {
        let named = |e: String| format!("{}: {e}", file.display());
        let text = std::fs::read_to_string(&file).map_err(|e| named(e.to_string()))?;
        let File { theme, clusters, scenarios: raw } =
            serde_yaml_ng::from_str(&text).map_err(|e| named(e.to_string()))?;
        for raw in raw {
            let name = raw.get("name").map_or_else(|| "a scenario without a name".to_owned(), Value::to_string);
            let scenario: Scenario = serde_json::from_value(raw).map_err(|e| named(format!("{name}: {e}")))?;
            let shape = clusters.get(&scenario.cluster).cloned();
            let shape = shape.ok_or_else(|| named(format!("{name}: no cluster {:?}", scenario.cluster)))?;
            let shape = serde_json::from_value(shape).map_err(|e| named(format!("{}: {e}", scenario.cluster)))?;
            if scenarios.iter().any(|s| s.name == scenario.name) {
                return Err(named(format!("{name}: there are two of this name")));
            }
            scenarios.push(Scenario { theme: theme.clone(), shape, ..scenario });
        }
    }
    Ok(scenarios)
}

fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}

fn main() -> String {
    "main".to_owned()
}
