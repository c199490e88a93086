//! The steps of a lease that is prolonged or released.

use super::{Call, Done, OWN, Run, Step, answer, slot};
use bytes::Bytes;
use failsoft_policy::connection::Attempt;
use failsoft_policy::lease::{Lease, Lessor, token};
use failsoft_policy::tend::{Tend, Tended, Tending};
use failsoft_policy::{Instant, Turn};

impl Run<'_> {
    /// A lease of the load's own is prolonged or released, or that has ended.
    pub(super) fn tend(&mut self, step: &Step, now: Instant, contact: Option<Instant>) -> Result<Option<Done>, String> {
        let begun = [(Tend::Prolong, &step.prolong), (Tend::Release, &step.release)];
        if let Some((what, asked)) = begun.into_iter().find_map(|(what, asked)| Some((what, asked.as_ref()?))) {
            let node = self.key(&asked.node)?;
            let epoch = asked.epoch.or_else(|| self.cluster.epoch(node)).unwrap_or(0);
            let token = Bytes::copy_from_slice(&token(&self.config, OWN));
            let lease = Lease { lessor: Lessor { node, epoch, line: 7 }, token, at: now, kept: true, over: None };
            let mut turn = Turn { cluster: &mut self.cluster, now, dice: step.dice };
            let Some((tending, attempt)) = Tending::begin(what, &lease, slot(asked.slot), &self.config, &mut turn)
            else {
                return Ok(Some(Done::Said("not asked".to_owned())));
            };
            self.call = Call::Tend(what, tending, attempt);
            return Ok(Some(Done::Said(tending_text(what, "", attempt))));
        }
        let (Some(text), Call::Tend(what, tending, attempt)) = (&step.answer, &mut self.call) else { return Ok(None) };
        let came = match text.as_str() {
            "done" => Ok(1),
            "lease_gone" => Ok(0),
            text => Err(answer(text)),
        };
        let mut turn = Turn { cluster: &mut self.cluster, now, dice: step.dice };
        Ok(Some(Done::Said(match tending.on(came, contact, &mut turn) {
            Tended::Again { with_text: false } => tending_text(*what, " again", *attempt),
            Tended::Again { with_text: true } => tending_text(*what, " with its script", *attempt),
            Tended::Stands => "stands".to_owned(),
            Tended::Gone => "gone".to_owned(),
        })))
    }
}

fn tending_text(what: Tend, how: &str, attempt: Attempt) -> String {
    let what = if what == Tend::Prolong { "prolong" } else { "release" };
    format!("{what}{how} until {}", attempt.until.as_nanos() / 1_000_000)
}
