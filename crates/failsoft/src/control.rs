//! The control plane: questions about the cluster, asked over connections of their own, so that they
//! never stand in the way of a read.
//!
//! No single question is necessary. Whatever lets a node's slots be known is enough; what a server refuses, in
//! whatever words, costs what needs it, is named in the reports, and is not asked again for a while.

mod lines;
mod names;
mod parse;
mod question;
mod reports;
mod resolve;
mod trouble;
mod views;

pub(crate) use trouble::Trouble;

use crate::opener::Opener;
use failsoft_policy::denied::Denied;
use failsoft_policy::view::{NodeReport, Probe, View};
use failsoft_policy::{Endpoint, Instant, NodeKey, Reason};
use question::{Answers, Question};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// See the module.
pub(crate) struct Control {
    opener: Opener,
    lines: lines::Lines,
    /// What the nodes last asked for a view said instead; no more entries than seeds and nodes.
    refusals: Mutex<BTreeMap<Endpoint, Trouble>>,
    denied: Mutex<Denied<Question>>,
    names: names::Names,
    /// Whether the last view with epochs that was asked for came without.
    without_epochs: AtomicBool,
    /// How many of the next questions panic.
    #[cfg(test)]
    pub(crate) defects: std::sync::atomic::AtomicU32,
}

impl Control {
    pub(crate) fn new(opener: Opener) -> Self {
        Self {
            lines: lines::Lines::new(opener.clone()),
            refusals: Mutex::default(),
            denied: Mutex::new(Denied::new(opener.config.slot_refresh_interval())),
            names: names::Names::new(opener.config.slot_refresh_interval()),
            without_epochs: AtomicBool::new(false),
            #[cfg(test)]
            defects: std::sync::atomic::AtomicU32::new(0),
            opener,
        }
    }

    /// Drops all connections.
    pub(crate) fn close(&self) {
        self.lines.close();
    }

    /// Drops the connections to nodes that are no longer known, and what they said.
    pub(crate) fn keep_only(&self, known: &[Endpoint]) {
        let known: BTreeSet<&Endpoint> = known.iter().collect();
        // As long as no node is known, the seeds' own words are all there is.
        if !known.is_empty() {
            self.refusals().retain(|node, _| known.contains(node));
            self.denied().keep_only(&known);
        }
        self.lines.keep_only(&known);
    }

    /// One node's view of the cluster, with config epochs if asked for.
    pub(crate) async fn view(&self, via: &Endpoint, epochs: bool) -> Result<View, Trouble> {
        let result = self.ask_view(via, self.now(), epochs).await;
        let mut refusals = self.refusals();
        match &result {
            Ok(_) => {
                refusals.remove(via);
            }
            Err(trouble) => {
                refusals.insert(via.clone(), trouble.clone());
                // A server that gives nothing is not one that lacks commands: it may be starting.
                self.denied().clear(via);
            }
        }
        drop(refusals);
        result
    }

    /// The nodes that gave no view when last asked, and what they said or did instead.
    pub(crate) fn who_refused(&self) -> BTreeMap<String, String> {
        self.refusals().iter().map(|(endpoint, why)| (endpoint.to_string(), why.to_string())).collect()
    }

    /// The same, by reason.
    pub(crate) fn reasons(&self) -> BTreeMap<Endpoint, Reason> {
        self.refusals().iter().map(|(endpoint, why)| (endpoint.clone(), why.reason())).collect()
    }

    /// One of them, for the message of an error.
    pub(crate) fn a_refusal(&self) -> Option<Arc<str>> {
        self.refusals().first_key_value().map(|(endpoint, why)| format!("{endpoint}: {why}").into())
    }

    /// Asks a node for its state and, if it says that it is ready, the witness for its view.
    pub(crate) async fn probe(&self, node: NodeKey, endpoint: &Endpoint, witness: Option<&Endpoint>) -> Probe {
        let sent_at = self.now();
        let report = self.ask_report(endpoint).await.map_err(|trouble| trouble.reason());
        let ready = |report: &NodeReport| report.unready().is_none();
        let witness = match witness.filter(|_| report.as_ref().is_ok_and(ready)) {
            Some(witness) => self.view(witness, true).await.ok(),
            None => None,
        };
        Probe { node, sent_at, report, witness }
    }

    /// Asks what this node did not refuse lately.
    async fn ask(&self, node: &Endpoint, questions: &[Question]) -> Result<Answers, Trouble> {
        #[cfg(test)]
        self.defect();
        let now = self.now();
        let (mut open, mut answers) = (Vec::with_capacity(questions.len()), Answers::default());
        for &question in questions {
            match self.denied().line(node, question, now) {
                Some(line) => answers.insert(question, Err(line.to_owned())),
                None => open.push(question),
            }
        }
        if open.is_empty() {
            return Ok(answers);
        }
        for (&question, answer) in open.iter().zip(self.lines.ask(node, &open).await?) {
            self.denied().handle_answer(node, question, answer.as_ref().err().map(String::as_str), now);
            answers.insert(question, answer);
        }
        Ok(answers)
    }

    #[cfg(test)]
    fn defect(&self) {
        use std::sync::atomic::Ordering::Relaxed;
        let one_less = self.defects.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        assert!(one_less.is_err(), "a defect");
    }

    fn tls(&self) -> bool {
        self.opener.tls.is_some()
    }

    fn refusals(&self) -> MutexGuard<'_, BTreeMap<Endpoint, Trouble>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn denied(&self) -> MutexGuard<'_, Denied<Question>> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Instant {
        self.opener.clock.now()
    }
}
