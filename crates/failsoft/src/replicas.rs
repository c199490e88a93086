//! Asks nodes whether their replicas have what was written: one `WAIT` for all that was written before it on a connection.

use crate::commands::{Message, Writer};
use crate::connection::{Attempt, Pending, Reply, SubmitError};
use crate::error::Error;
use crate::member::Member;
use crate::opener::Use;
use crate::shared::Shared;
use crate::writes;
use failsoft_policy::Turn;
use failsoft_policy::read::Answer;
use failsoft_policy::replication::{Again, Wait};
use failsoft_policy::reply::classify;
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;

/// What a node answered: how many replicas have it.
type Said = Result<i64, Answer>;

/// The `WAIT`s of one node. While one is under way, the server takes nothing else from that connection, so the next one is
/// for all who have come until then.
pub(crate) struct Rounds {
    under_way: tokio::sync::Mutex<()>,
    next: Mutex<Option<Round>>,
}

/// A `WAIT` that has not been sent yet.
struct Round {
    line: u64,
    replicas: u32,
    said: watch::Receiver<Option<Said>>,
}

impl Rounds {
    pub(crate) fn new() -> Self {
        Self { under_way: tokio::sync::Mutex::new(()), next: Mutex::new(None) }
    }

    /// The answer to this `WAIT`, which others may share.
    async fn ask(&self, member: &Member, wait: &Wait, shared: &Shared) -> Said {
        let (tell, said) = watch::channel(None);
        if let Some(mut said) = self.join(wait, said) {
            // Who was to send it may have gone.
            let told = said.wait_for(Option::is_some).await;
            return told.ok().and_then(|told| told.clone()).unwrap_or(Err(Answer::Closed));
        }
        let turn = self.under_way.lock().await;
        self.close(&tell);
        let answer = send(member, wait, shared).await;
        drop(turn);
        tell.send_replace(Some(answer.clone()));
        answer
    }

    /// The round that is to come, if it is the same; otherwise this one is to come.
    fn join(&self, wait: &Wait, said: watch::Receiver<Option<Said>>) -> Option<watch::Receiver<Option<Said>>> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |round: &&Round| {
            (round.line, round.replicas) == (wait.line, wait.replicas) && round.said.has_changed().is_ok()
        };
        if let Some(round) = next.as_ref().filter(same) {
            return Some(round.said.clone());
        }
        *next = Some(Round { line: wait.line, replicas: wait.replicas, said });
        None
    }

    /// Nobody joins this round any more.
    fn close(&self, tell: &watch::Sender<Option<Said>>) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.take_if(|round| round.said.same_channel(&tell.subscribe()));
    }
}

async fn send(member: &Member, wait: &Wait, shared: &Shared) -> Said {
    let (replicas, patience) = (wait.replicas.to_string(), wait.patience.as_millis().max(1).to_string());
    let words: [&[u8]; 3] = [b"WAIT", replicas.as_bytes(), patience.as_bytes()];
    let time = Attempt::until(shared.now() + wait.limit);
    let sent: Result<Pending, SubmitError> =
        member.submit_on(Use::Invalidations, wait.line, |lane| lane.command(&words, false, time));
    match sent {
        Err(SubmitError::Full) => Err(Answer::Saturated),
        Err(SubmitError::Ended(failure)) => Err(failure.answer()),
        Ok(pending) => match pending.await {
            Ok(Reply::Integer(number)) => Ok(number),
            Ok(Reply::Error(line)) => Err(Answer::Error(classify(&line))),
            Ok(_) => Err(Answer::Protocol),
            Err(failure) => Err(failure.answer()),
        },
    }
}

/// Asks for what a write needs.
pub(crate) async fn ask(shared: &Shared, wait: &Wait) -> Said {
    match shared.table.load().member(wait.node).cloned() {
        Some(member) => member.rounds.ask(&member, wait, shared).await,
        None => Err(Answer::Connection),
    }
}

/// Asks a node again whose replicas lacked something.
pub(crate) async fn ask_again(shared: &Shared, again: Again) -> Result<(), Error> {
    let config = shared.config();
    let id = shared.draw_id();
    let epoch = shared.with_cluster(|cluster, now| again.begin(id, &mut Turn { cluster, now, dice: 0 }));
    let message = Message::invalidation(&again.key, id, epoch, config.invalidation_ttl(), Writer::default());
    let mut mark = again.mark(config, shared.now());
    let written = writes::run(shared, &mut mark, &message.marked_in(again.slot, epoch)).await?;
    let wait = shared
        .with_cluster(|cluster, now| again.wait(&mark, written.err(), config, &mut Turn { cluster, now, dice: 0 }));
    if let Some(wait) = wait {
        let said = ask(shared, &wait).await;
        let reached = shared.with_cluster(|cluster, now| again.ended(&wait, said, &mut Turn { cluster, now, dice: 0 }));
        shared.tally.invalidation(!reached);
    }
    Ok(())
}
