//! The steps that are about replicas: what is asked, what was answered, and who is asked again.

use crate::run::{Call, Done, KEY, Run};
use crate::schema::Step;
use crate::words::answer;
use failsoft_policy::replication::{Again, Wait};
use failsoft_policy::{Instant, Turn};

/// What is under way.
#[derive(Default)]
pub(crate) struct Replicas {
    wait: Option<Wait>,
    again: Option<Again>,
}

impl Run<'_> {
    pub(crate) fn of_replicas(&mut self, step: &Step, now: Instant) -> Result<Done, String> {
        let mut turn = Turn { cluster: &mut self.cluster, now, dice: step.dice };
        if step.again {
            let Some(again) = turn.cluster.behind().take_due(now).pop() else {
                return Ok(Done::Said("nothing".to_owned()));
            };
            let mut mark = again.mark(&self.config, now);
            let action = mark.start(turn);
            (self.call, self.replicas.again) = (Call::Write(mark), Some(again));
            return Ok(Done::Write(action));
        }
        if step.waits {
            let Call::Write(write) = &self.call else { return Err("nothing was written".into()) };
            self.replicas.wait = match &self.replicas.again {
                Some(again) => again.wait(write, None, &self.config, &mut turn),
                None => write.landed().and_then(|landed| Wait::after(&landed, &self.config, &turn)),
            };
            let asked = |wait: &Wait| {
                format!("wait for {} at {}, {} ms", wait.replicas, self.names.of(wait.node), wait.patience.as_millis())
            };
            return Ok(Done::Said(self.replicas.wait.as_ref().map_or("none".to_owned(), asked)));
        }
        let (Some(text), Some(wait)) = (&step.said, self.replicas.wait.take()) else {
            return Err("an answer to nothing".into());
        };
        let said = text.parse().map_err(|_| answer(text));
        let lacks = match self.replicas.again.take() {
            Some(again) => (!again.ended(&wait, said, &mut turn)).then(|| "behind".to_owned()),
            None => wait.ended(said, (&KEY, now), &mut turn).map(|cause| cause.to_string()),
        };
        Ok(Done::Said(lacks.unwrap_or("enough".to_owned())))
    }
}
