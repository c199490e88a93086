//! What is done to the workers' processes meanwhile: they are suspended, killed and replaced, or made to miss something.

use crate::crew::Crew;
use crate::faults::{LIMIT, cut};
use crate::stage::{Stage, pause};
use failsoft_testkit::Error;

pub(crate) async fn run(stage: &Stage, crew: &mut Crew, mut chance: fastrand::Rng) -> Result<(), String> {
    loop {
        pause(&mut chance, 300, 2_000).await;
        let place = chance.usize(..crew.len());
        let who = crew.describe(place);
        match chance.u8(..8) {
            0 => {
                deafen(stage, crew, place, &mut chance).await.map_err(|e| e.to_string())?;
                stage.count("process deaf to a primary that died");
            }
            1 | 2 => {
                stage.say(format!("SIGKILL {who}")).await;
                crew.replace(place).await?;
                stage.count("process killed");
            }
            _ => {
                stage.say(format!("SIGSTOP {who}")).await;
                crew.suspend(place, true);
                // Some shorter than a trust window, and some longer than a node timeout.
                let longest = if chance.bool() { 400 } else { 3_000 };
                pause(&mut chance, 20, longest).await;
                crew.suspend(place, false);
                stage.say(format!("SIGCONT {who}")).await;
                stage.count("process suspended");
            }
        }
    }
}

/// What a primary tells from now on does not reach this process, and then the primary dies: of what was invalidated
/// meanwhile the echoes alone can tell. It is suspended for less than a trust window, so it has not missed a proof, and
/// does not ask the primary itself.
async fn deafen(stage: &Stage, crew: &Crew, place: usize, chance: &mut fastrand::Rng) -> Result<(), Error> {
    let _alone = stage.nodes.lock().await;
    let shards = stage.shards().await?;
    let Some(&(primary, replica)) = chance.choice(&shards) else { return Ok(()) };
    let node = stage.cluster.node(primary).address();
    stage.say(format!("SIGSTOP {}, all CLIENT KILL at {node}", crew.describe(place))).await;
    crew.suspend(place, true);
    let cut = cut(&stage.cluster, primary, || true).await;
    pause(chance, 50, 200).await;
    stage.say(format!("SIGKILL {node}, SIGCONT {}", crew.describe(place))).await;
    let killed = stage.cluster.kill(primary).await;
    crew.suspend(place, false);
    cut.and(killed)?;
    stage.cluster.wait_promoted(replica, LIMIT).await?;
    stage.heal().await
}
