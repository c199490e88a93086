//! The background: asks the policy what is to be asked, sends it out, and brings the answers back.

use crate::connection::Failure;
use crate::endings::Ending;
use crate::events::Watch;
use crate::shared::Shared;
use failsoft_policy::Endpoint;
use failsoft_policy::cluster::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How often successes are paid into the retry budget and contacts are noted.
const TICK: Duration = Duration::from_secs(1);

/// Runs until the router closes.
pub(crate) async fn conduct(shared: Arc<Shared>) {
    let mut credited = 0;
    let mut tick = shared.now();
    let mut watch = Watch::new(&shared);
    loop {
        let successes = shared.tally.successes();
        let gained = successes - credited;
        credited = successes;
        // This looks at every connection, which is too much for each time something happens.
        let mut contacts = Vec::new();
        if shared.now() >= tick {
            tick = shared.now() + TICK;
            contacts.extend(shared.table.load().members().filter_map(|m| Some((m.key, m.contact()?))));
        }
        let (commands, next) = shared.conduct(|cluster, now| {
            cluster.credit(gained);
            for Ending { node, reason, contact } in shared.opener.endings.take() {
                cluster.failed(node, reason, contact, now);
            }
            for (node, at) in contacts {
                cluster.saw(node, at);
            }
            let commands: Vec<_> = std::iter::from_fn(|| cluster.poll(now, fastrand::u32(..))).collect();
            (commands, cluster.next_timeout())
        });
        for command in commands {
            carry_out(&shared, command);
        }
        let look = watch.as_mut().and_then(|watch| watch.look(&shared));
        let until = next.into_iter().chain(look).fold(tick, std::cmp::min);
        tokio::select! {
            () = shared.opener.endings.wake.notified() => {}
            () = tokio::time::sleep_until(shared.opener.clock.std(until)) => {}
        }
    }
}

fn carry_out(shared: &Arc<Shared>, command: Command) {
    match command {
        Command::Close { node } => {
            if let Some(member) = shared.table.load().member(node) {
                member.close(&Failure::Lost("closed after a failure".into()));
            }
        }
        Command::Refresh { round, targets, epochs } => {
            shared.spawn(refresh(Arc::clone(shared), round, targets, epochs));
        }
        Command::Probe { node, endpoint, witness } => {
            let shared_too = Arc::clone(shared);
            shared.spawn(async move {
                let probe = shared_too.control.probe(node, &endpoint, witness.as_ref()).await;
                let contact = shared_too.table.load().member(node).and_then(|m| m.contact());
                shared_too.tell_cluster(|cluster, now| {
                    if let Some(at) = contact {
                        cluster.saw(node, at);
                    }
                    cluster.on_probe(probe, now);
                });
            });
        }
    }
}

/// Asks all targets at once; each view counts as soon as it is there.
async fn refresh(shared: Arc<Shared>, round: u64, targets: Vec<Endpoint>, epochs: bool) {
    let mut asked = JoinSet::new();
    for target in targets {
        let shared = Arc::clone(&shared);
        asked.spawn(async move {
            match shared.control.view(&target, epochs).await {
                Ok(view) => shared.tell_cluster(|cluster, now| cluster.on_view(round, view, now)),
                Err(trouble) => {
                    let error = trouble.error_reply();
                    shared.with_cluster(|cluster, _| cluster.on_no_view(error.as_ref()));
                }
            }
        });
    }
    while asked.join_next().await.is_some() {}
    let known = shared.tell_cluster(|cluster, now| {
        cluster.on_refresh_done(round, now);
        cluster.endpoints().map(|(_, e)| e.clone()).collect::<Vec<_>>()
    });
    shared.control.keep_only(&known);
}
