//! Listens to nodes: opens the connections on which they tell what is invalidated, asks on them, and hands over what is
//! told.

use crate::connection::{Attempt, Phase, Pushes, Reply};
use crate::shared::Shared;
use crate::{near, panics};
use bytes::Bytes;
use failsoft_policy::hearing::{Answer, Command, Ear};
use failsoft_policy::memory::Gone;
use failsoft_policy::reply::classify;
use failsoft_policy::wire::{BELLS, absent_name, is_own};
use failsoft_policy::{Instant, NodeKey, Slot};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The events of a cluster's only database.
const EVICTED: &[u8] = b"__keyevent@0__:evicted";
const EXPIRED: &[u8] = b"__keyevent@0__:expired";

/// Carries out what the policy wants to be done.
pub(crate) fn carry_out(shared: &Arc<Shared>, (ear, command): (Ear, Command)) {
    match command {
        Command::Open { node } => {
            shared.spawn(open(Arc::clone(shared), ear, node));
        }
        Command::Probe { node, line, slot, at } => {
            shared.spawn(probe(Arc::clone(shared), ear, (node, line), slot, at));
        }
        Command::Close { node, line } => {
            if let Some(member) = shared.table.load().member(node) {
                near::distrust(member);
                member.stop_listening(ear, line);
            }
        }
    }
}

async fn open(shared: Arc<Shared>, ear: Ear, node: NodeKey) {
    let opened = panics::caught(subscribe(&shared, ear, node)).await.unwrap_or_else(|_| {
        shared.tally.panicked();
        Err(Answer::Lost)
    });
    shared.tell_cluster(|cluster, now| {
        cluster.handle_listening(ear, node, opened, now, fastrand::u32(..));
        near::show(&shared, cluster, node);
    });
}

/// Opens a connection and has it told the bells; gives its number.
async fn subscribe(shared: &Arc<Shared>, ear: Ear, node: NodeKey) -> Result<u64, Answer> {
    let member = shared.table.load().member(node).cloned().ok_or(Answer::Lost)?;
    let lane = member.listen(ear, &shared.opener, pushes(shared, ear, node)).ok_or(Answer::Lost)?;
    let attempt = attempt(shared);
    let ask = || match ear {
        Ear::Bells => {
            let words: [&[u8]; 6] = [b"CLIENT", b"TRACKING", b"ON", b"BCAST", b"PREFIX", BELLS.as_bytes()];
            lane.command(&words, false, attempt)
        }
        Ear::Keys => lane.command(&[b"CLIENT", b"TRACKING", b"ON", b"OPTIN"], false, attempt),
        Ear::Events => lane.subscribe(&[EVICTED, EXPIRED], attempt),
    };
    let said = loop {
        let said = match ask() {
            Ok(pending) => pending.await,
            Err(_) => break Answer::Lost,
        };
        match said {
            Ok(reply) => break answer_of(reply),
            // A node in trouble lets nobody wait for a connection that is still being opened: but here nobody is kept.
            Err(_) if lane.state() == Phase::Connecting && shared.now() < attempt.until => {}
            Err(_) => break Answer::Lost,
        }
    };
    let answer = match said {
        // It would tell nothing on a connection that also answers.
        Answer::Owner if lane.greeted().is_some_and(|greeted| greeted.refused.contains(&"HELLO")) => Answer::Dumb,
        answer => answer,
    };
    if answer == Answer::Owner {
        return Ok(lane.line());
    }
    member.stop_listening(ear, lane.line());
    Err(answer)
}

/// Asks for the name that is never there. What the node had told before its answer is handed over before.
async fn probe(shared: Arc<Shared>, ear: Ear, (node, line): (NodeKey, u64), slot: Slot, at: Instant) {
    let name = absent_name(slot);
    let asked = shared.table.load().member(node).map(|member| {
        let attempt = attempt(&shared);
        member.submit_on(ear.into(), line, |lane| lane.command(&[b"EXISTS", &name], false, attempt))
    });
    let answer = match asked {
        Some(Ok(pending)) => pending.await.map_or(Answer::Lost, answer_of),
        _ => Answer::Lost,
    };
    shared.tell_cluster(|cluster, now| {
        cluster.handle_listening_probe(ear, (node, line), at, &answer, now, fastrand::u32(..));
        near::show(&shared, cluster, node);
    });
}

fn answer_of(reply: Reply) -> Answer {
    match reply {
        Reply::Error(line) => Answer::Refused(classify(&line)),
        _ => Answer::Owner,
    }
}

/// Hands over what a node tells, on the thread that reads it: what is answered later is handed over later.
fn pushes(shared: &Arc<Shared>, ear: Ear, node: NodeKey) -> Arc<Pushes> {
    // The router holds the connection.
    let shared = Arc::downgrade(shared);
    Arc::new(move |push| {
        let Some(shared) = shared.upgrade() else { return };
        if catch_unwind(AssertUnwindSafe(|| take(&shared, ear, node, &push))).is_err() {
            shared.tally.panicked();
            // What was told may be lost.
            flushed(&shared, node);
        }
    })
}

fn take(shared: &Shared, ear: Ear, node: NodeKey, push: &[Reply]) {
    match push {
        [Reply::Value(kind), Reply::Array(names)] if kind == "invalidate" => {
            let names =
                names.iter().filter_map(|name| if let Reply::Value(name) = name { Some(&name[..]) } else { None });
            if ear == Ear::Keys {
                return names.for_each(|key| near::changed(shared, key));
            }
            let news = shared.with_cluster(|cluster, now| cluster.handle_bells(node, names, now, fastrand::u32(..)));
            if !news.is_empty() {
                let keys: Vec<Bytes> = news.into_iter().map(Bytes::copy_from_slice).collect();
                near::invalidated(shared, &keys);
                shared.loads.detach(&keys);
            }
        }
        [Reply::Value(kind), Reply::Value(channel), Reply::Value(key)] if kind == "message" => {
            let gone = if &channel[..] == EVICTED { Gone::Evicted } else { Gone::Expired };
            let now = shared.with_cluster(|cluster, now| {
                cluster.handle_event(node, now, fastrand::u32(..));
                now
            });
            if !is_own(key) {
                shared.memory.told(key, node, gone, now);
            }
        }
        [Reply::Value(kind), Reply::Nil] if kind == "invalidate" => {
            flushed(shared, node);
        }
        _ => {}
    }
}

/// Any key of this node may have changed.
fn flushed(shared: &Shared, node: NodeKey) {
    shared.with_cluster(|cluster, now| {
        cluster.handle_flush(node, now);
        near::show(shared, cluster, node);
    });
}

/// How long a question may take: the connection may still be being opened.
fn attempt(shared: &Shared) -> Attempt {
    let config = shared.config();
    Attempt::until(shared.now() + config.connect_timeout() + config.attempt_timeout())
}
