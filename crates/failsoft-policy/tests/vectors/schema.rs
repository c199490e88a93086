//! The form of the vector files; their README says what each field means.

use serde::Deserialize;
use std::collections::BTreeMap;

/// Node name to its description, as `primary 0-100 epoch 3` or `replica of p1 epoch 3`.
pub type Nodes = BTreeMap<String, String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    #[allow(dead_code)] // for people
    pub about: String,
    pub clusters: BTreeMap<String, Nodes>,
    pub vectors: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    pub name: String,
    pub cluster: Option<String>,
    #[serde(default)]
    pub silent: Vec<String>,
    pub seeds: Option<Vec<String>>,
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    pub steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub at_ms: u64,
    #[serde(default)]
    pub dice: u32,
    pub read: Option<Read>,
    pub write: Option<Write>,
    pub answer: Option<String>,
    pub contact_ms: Option<u64>,
    #[serde(default)]
    pub woken: bool,
    pub pinged: Option<bool>,
    pub view: Option<View>,
    #[serde(default)]
    pub refresh_done: bool,
    pub probe: Option<Probe>,
    pub failed: Option<String>,
    pub saw: Option<String>,
    pub credit: Option<u64>,
    #[serde(default)]
    pub spend_retries: bool,
    pub poll: Option<Vec<String>>,
    pub expect: Option<String>,
    pub notes: Option<Vec<String>>,
    pub attempts: Option<u32>,
    pub tokens: Option<u64>,
    pub next_ms: Option<u64>,
    #[serde(default)]
    pub routes: BTreeMap<u16, String>,
    #[serde(default)]
    pub gates: BTreeMap<u16, String>,
    #[serde(default)]
    pub breakers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    #[serde(default)]
    pub slot: u16,
    #[serde(default)]
    pub callback: bool,
    pub deadline_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Write {
    #[serde(default)]
    pub slot: u16,
    pub fill: Option<String>,
    pub deadline_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    pub from: String,
    pub asked_ms: Option<u64>,
    /// None: a server without cluster mode.
    pub cluster: Option<String>,
    #[serde(default)]
    pub without_epochs: bool,
    pub round: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    pub node: String,
    /// `none`, or words such as `primary epoch 1 loading`.
    pub says: String,
    pub sent_ms: Option<u64>,
    pub witness: Option<View>,
}
