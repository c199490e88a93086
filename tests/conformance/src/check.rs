//! Expectations: of one call, and of what can be seen of a router, its callbacks and its nodes.

use crate::protocol::{Account, Answer, Last, Outcome};
use crate::value::{Number, Text, shown};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// Commands that a node got, by name.
pub(crate) type Commands = BTreeMap<String, Number>;

/// What is expected of one call; what is not said is not looked at. Without `error` the call succeeds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Expect {
    pub(crate) value: Option<Text>,
    /// There is no value.
    pub(crate) missing: bool,
    pub(crate) served_by: Option<String>,
    /// `none` for no reason.
    pub(crate) reason: Option<String>,
    pub(crate) attempts: Option<Number>,
    pub(crate) coalesced: Option<bool>,
    pub(crate) node: Option<String>,
    /// The most that the age may be.
    pub(crate) age_ms: Option<Number>,
    pub(crate) error: Option<String>,
    /// Part of the error's message.
    pub(crate) message: Option<String>,
    /// Of `get_many`; null for a key that does not exist.
    pub(crate) values: Option<Vec<Option<Text>>>,
    /// Of `resolve_many`, for each key.
    pub(crate) each: Option<Vec<Expect>>,
    /// Of `last_invalidation`: where it is known from, and whether this router made it.
    pub(crate) record: Option<String>,
    pub(crate) own: Option<bool>,
    /// Of `within_staleness_budget`.
    pub(crate) said: Option<bool>,
    /// Callbacks that began during the call.
    pub(crate) callbacks: Option<Number>,
    /// Commands that nodes got during the call.
    pub(crate) sent: BTreeMap<String, Commands>,
}

/// What is to be seen, all of it at once.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Check {
    /// Fields of `health()`.
    pub(crate) health: BTreeMap<String, Value>,
    /// Fields of nodes in `health()`.
    pub(crate) nodes: BTreeMap<String, BTreeMap<String, Value>>,
    /// Counters: `loads`, `fills`, `fills_skipped/CAUSE`, `attempts/STATUS`, `reads/SOURCE`, and with
    /// `/REASON` behind it only those of that reason.
    pub(crate) counters: BTreeMap<String, Number>,
    /// Commands that nodes got since the beginning or the last `mark`.
    pub(crate) received: BTreeMap<String, Commands>,
    /// Callbacks that began since the beginning or the last `mark`.
    pub(crate) callbacks: Option<Number>,
    /// Callbacks that were cancelled since then.
    pub(crate) cancelled: Option<Number>,
    /// The reasons that callbacks were told since then, in their order.
    pub(crate) reasons: Option<Vec<String>>,
    /// What scripted nodes hold: node, key, value.
    pub(crate) stored: BTreeMap<String, BTreeMap<String, Option<Text>>>,
}

impl Expect {
    /// Holds a result against the expectation, but for what happened beside the call.
    pub(crate) fn check(&self, result: &Outcome, addresses: &BTreeMap<String, String>) -> Result<(), String> {
        match (result, &self.error) {
            (Outcome::Error(failure), Some(code)) => {
                if failure.code != *code {
                    return Err(format!("the error is {} ({}), expected {code}", failure.code, failure.message));
                }
                match &self.message {
                    Some(part) if !failure.message.contains(part) => {
                        Err(format!("the error says {:?}, expected {part:?} in it", failure.message))
                    }
                    _ => Ok(()),
                }
            }
            (Outcome::Error(failure), None) => Err(format!("failed: {} ({})", failure.code, failure.message)),
            (Outcome::Ok(answer), Some(code)) => Err(format!("expected the error {code}, got {answer:?}")),
            (Outcome::Ok(answer), None) => self.check_answer(answer, addresses),
        }
    }

    fn check_answer(&self, answer: &Answer, addresses: &BTreeMap<String, String>) -> Result<(), String> {
        match answer {
            Answer::Done {} | Answer::Health(_) => Ok(()),
            Answer::Value(value) => self.check_value(value.as_ref().map(|v| v.0.as_slice())),
            Answer::Outcome(account) => self.check_account(account, addresses),
            Answer::Last(last) => self.check_last(last.as_ref()),
            Answer::Said(said) if self.said.is_some_and(|wanted| wanted != *said) => Err(format!("it is {said}")),
            Answer::Said(_) => Ok(()),
            Answer::Values(values) => {
                let Some(wanted) = &self.values else { return Ok(()) };
                if wanted.len() != values.len() {
                    return Err(format!("{} values, expected {}", values.len(), wanted.len()));
                }
                wanted.iter().zip(values).enumerate().try_for_each(|(index, (wanted, value))| {
                    let expect = Expect { value: wanted.clone(), missing: wanted.is_none(), ..Expect::default() };
                    let checked = expect.check_value(value.as_ref().map(|v| v.0.as_slice()));
                    checked.map_err(|e| format!("key {index}: {e}"))
                })
            }
            Answer::Outcomes(outcomes) => {
                let Some(wanted) = &self.each else { return Ok(()) };
                if wanted.len() != outcomes.len() {
                    return Err(format!("{} outcomes, expected {}", outcomes.len(), wanted.len()));
                }
                wanted.iter().zip(outcomes).enumerate().try_for_each(|(index, (wanted, outcome))| {
                    wanted.check(outcome, addresses).map_err(|e| format!("key {index}: {e}"))
                })
            }
        }
    }

    fn check_value(&self, value: Option<&[u8]>) -> Result<(), String> {
        let told = || value.map_or("missing".to_owned(), shown);
        match &self.value {
            Some(wanted) if Some(wanted.bytes()?.as_slice()) != value => {
                Err(format!("the value is {}, expected {}", told(), shown(&wanted.bytes()?)))
            }
            None if self.missing && value.is_some() => Err(format!("the value is {}, expected none", told())),
            _ => Ok(()),
        }
    }

    fn check_last(&self, last: Option<&Last>) -> Result<(), String> {
        let Some(last) = last else {
            return if self.missing { Ok(()) } else { Err("none is known".to_owned()) };
        };
        if self.missing {
            return Err(format!("expected none, got {last:?}"));
        }
        same("record", self.record.as_deref(), &last.record)?;
        if self.own.is_some_and(|wanted| wanted != last.own) {
            return Err(format!("own is {}", last.own));
        }
        if let Some(wanted) = self.age_ms {
            wanted.check("age_ms", last.age_ms.ok_or("age_ms is not known")? as u64)?;
        }
        // Servers and runner are on one machine.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64() * 1000.0);
        if last.at_ms.is_some_and(|at| !(now - 600_000.0..=now + 1.0).contains(&at)) {
            return Err(format!("at_ms is {:?}, and now is {now}", last.at_ms));
        }
        match &last.id {
            Some(id) if id.len() != 16 => Err(format!("the id is {id}")),
            _ => Ok(()),
        }
    }

    fn check_account(&self, got: &Account, addresses: &BTreeMap<String, String>) -> Result<(), String> {
        self.check_value(got.value.as_ref().map(|v| v.0.as_slice()))?;
        same("served_by", self.served_by.as_deref(), &got.served_by)?;
        same("reason", self.reason.as_deref(), got.reason.as_deref().unwrap_or("none"))?;
        if let Some(wanted) = self.attempts {
            wanted.check("attempts", got.attempts.into())?;
        }
        if let Some(wanted) = self.age_ms {
            wanted.check("age_ms", got.age_ms.ok_or("age_ms is not known")? as u64)?;
        }
        if self.coalesced.is_some_and(|wanted| wanted != got.coalesced) {
            return Err(format!("coalesced is {}", got.coalesced));
        }
        if let Some(name) = &self.node {
            let wanted = addresses.get(name).ok_or_else(|| format!("no node {name}"))?;
            same("node", Some(wanted), got.node.as_deref().unwrap_or("none"))?;
        }
        Ok(())
    }
}

impl Check {
    /// Whether a router has to be asked.
    pub(crate) fn wants_health(&self) -> bool {
        !self.health.is_empty() || !self.nodes.is_empty() || !self.counters.is_empty()
    }

    /// Holds what `health()` says against what is wanted.
    pub(crate) fn check_health(&self, health: &Value, addresses: &BTreeMap<String, String>) -> Result<(), String> {
        for (field, wanted) in &self.health {
            let got = health.get(field).ok_or_else(|| format!("health has no field {field}"))?;
            admits(field, wanted, got)?;
        }
        let listed = health.get("nodes").and_then(Value::as_array);
        for (name, fields) in &self.nodes {
            let address = addresses.get(name).ok_or_else(|| format!("no node {name}"))?;
            let node = listed
                .and_then(|nodes| nodes.iter().find(|n| n.get("address").and_then(Value::as_str) == Some(address)));
            let node = node.ok_or_else(|| format!("{name} is not in health()"))?;
            for (field, wanted) in fields {
                let got = node.get(field).ok_or_else(|| format!("a node's health has no field {field}"))?;
                admits(&format!("{name}.{field}"), wanted, got)?;
            }
        }
        self.counters.iter().try_for_each(|(path, wanted)| wanted.check(path, count(health, path)?))
    }
}

fn same(what: &str, wanted: Option<&str>, got: &str) -> Result<(), String> {
    match wanted {
        Some(wanted) if wanted != got => Err(format!("{what} is {got}, expected {wanted}")),
        _ => Ok(()),
    }
}

/// A wanted number may be a range, and of an object the fields that are named count; everything else is compared as it is.
fn admits(what: &str, wanted: &Value, got: &Value) -> Result<(), String> {
    match (serde_json::from_value::<Number>(wanted.clone()), got.as_u64()) {
        (Ok(number), Some(got)) => number.check(what, got),
        _ if got.is_object() && wanted.is_object() => {
            let mut fields = wanted.as_object().into_iter().flatten();
            fields.try_for_each(|(field, wanted)| {
                let got = got.get(field).ok_or_else(|| format!("{what} has no field {field}"))?;
                admits(&format!("{what}.{field}"), wanted, got)
            })
        }
        _ if wanted == got => Ok(()),
        _ => Err(format!("{what} is {got}, expected {wanted}")),
    }
}

fn count(health: &Value, path: &str) -> Result<u64, String> {
    let mut words = path.split('/');
    let family = words.next().unwrap_or_default();
    let counters = health.get("counters").and_then(|c| c.get(family));
    let counters = counters.ok_or_else(|| format!("no counter {family}"))?;
    let (what, reason) = (words.next(), words.next());
    match (counters, what) {
        (Value::Number(number), None) => Ok(number.as_u64().unwrap_or(0)),
        (Value::Array(rows), Some(what)) => Ok(rows
            .iter()
            .filter(|row| row.get("what").and_then(Value::as_str) == Some(what))
            .filter(|row| reason.is_none_or(|reason| row.get("reason").and_then(Value::as_str) == Some(reason)))
            .filter_map(|row| row.get("count").and_then(Value::as_u64))
            .sum()),
        _ => Err(format!("{path} names no counter")),
    }
}
