//! The form of the vector files; their README says what each field means.

use serde::Deserialize;
use std::collections::BTreeMap;

/// Node name to its description, as `primary 0-100 epoch 3` or `replica of p1 epoch 3`.
pub(crate) type Nodes = BTreeMap<String, String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    #[allow(dead_code)] // for people
    pub(crate) about: String,
    pub(crate) clusters: BTreeMap<String, Nodes>,
    pub(crate) vectors: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) cluster: Option<String>,
    #[serde(default)]
    pub(crate) silent: Vec<String>,
    pub(crate) seeds: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) settings: BTreeMap<String, String>,
    pub(crate) steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    pub(crate) at_ms: u64,
    #[serde(default)]
    pub(crate) dice: u32,
    /// Before all else of the step, this process invalidates the key, in this slot.
    pub(crate) invalidated: Option<u16>,
    /// And this node acknowledges it.
    pub(crate) told: Option<String>,
    pub(crate) read: Option<Read>,
    pub(crate) write: Option<Write>,
    pub(crate) lease: Option<Asked>,
    pub(crate) prolong: Option<Asked>,
    pub(crate) release: Option<Asked>,
    pub(crate) answer: Option<String>,
    pub(crate) contact_ms: Option<u64>,
    #[serde(default)]
    pub(crate) woken: bool,
    pub(crate) pinged: Option<bool>,
    /// What is asked about the replicas of who has acknowledged the last write.
    #[serde(default)]
    pub(crate) waits: bool,
    /// What that answers.
    pub(crate) said: Option<String>,
    /// A node that is behind is asked again, if one is due.
    #[serde(default)]
    pub(crate) again: bool,
    pub(crate) view: Option<View>,
    #[serde(default)]
    pub(crate) refresh_done: bool,
    pub(crate) probe: Option<Probe>,
    pub(crate) failed: Option<String>,
    pub(crate) sent_ms: Option<u64>,
    pub(crate) saw: Option<String>,
    pub(crate) credit: Option<u64>,
    #[serde(default)]
    pub(crate) spend_retries: bool,
    pub(crate) poll: Option<Vec<String>>,
    pub(crate) expect: Option<String>,
    pub(crate) notes: Option<Vec<String>>,
    pub(crate) attempts: Option<u32>,
    pub(crate) tokens: Option<u64>,
    pub(crate) next_ms: Option<u64>,
    #[serde(default)]
    pub(crate) routes: BTreeMap<u16, String>,
    #[serde(default)]
    pub(crate) gates: BTreeMap<u16, String>,
    #[serde(default)]
    pub(crate) breakers: BTreeMap<String, String>,
    /// Of replicas, in milliseconds, or `unknown`.
    #[serde(default)]
    pub(crate) ages: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) verdicts: BTreeMap<String, String>,
    pub(crate) down: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Read {
    #[serde(default)]
    pub(crate) slot: u16,
    #[serde(default)]
    pub(crate) callback: bool,
    pub(crate) deadline_ms: Option<u64>,
    pub(crate) call_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    pub(crate) node: String,
    #[serde(default)]
    pub(crate) slot: u16,
    pub(crate) by_ms: Option<u64>,
    pub(crate) epoch: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Write {
    #[serde(default)]
    pub(crate) slot: u16,
    pub(crate) fill: Option<String>,
    #[serde(default)]
    pub(crate) invalidate: bool,
    #[serde(default)]
    pub(crate) announce: bool,
    #[serde(default)]
    pub(crate) hold: bool,
    #[serde(default)]
    pub(crate) lift: bool,
    pub(crate) epoch: Option<u64>,
    pub(crate) deadline_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct View {
    pub(crate) from: String,
    /// The id of its node, if that is another word.
    pub(crate) by: Option<String>,
    pub(crate) asked_ms: Option<u64>,
    /// None: a server without cluster mode.
    pub(crate) cluster: Option<String>,
    #[serde(default)]
    pub(crate) without_epochs: bool,
    /// `cluster_state:fail` in its `CLUSTER INFO`.
    #[serde(default)]
    pub(crate) says_down: bool,
    pub(crate) round: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Probe {
    pub(crate) node: String,
    /// `none`, or words such as `primary epoch 1 loading`.
    pub(crate) says: String,
    pub(crate) sent_ms: Option<u64>,
    pub(crate) witness: Option<View>,
}
