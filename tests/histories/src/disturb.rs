//! What is done to the workers' processes meanwhile: they are suspended, killed and replaced, or made to miss something.

use crate::crew::Crew;
use crate::faults::{LIMIT, cut, listeners};
use crate::promise::EdgeKind;
use crate::services::SPARING;
use crate::stage::{Stage, pause};
use failsoft_testkit::Error;

pub(crate) async fn run(stage: &Stage, crew: &mut Crew, mut chance: fastrand::Rng) -> Result<(), String> {
    loop {
        pause(&mut chance, 300, 2_000).await;
        let place = chance.usize(..crew.len());
        let who = crew.describe(place);
        match chance.u8(..8) {
            0 | 1 => {
                deafen(stage, crew, &mut chance).await.map_err(|e| e.to_string())?;
                stage.count("process deaf to a primary that died");
            }
            2 => {
                bereave(stage, crew, place, &mut chance).await.map_err(|e| e.to_string())?;
                stage.count("acknowledged writes lost while their writers were suspended");
            }
            3 | 4 => {
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

/// What a primary tells from now on does not reach a process, and then the primary dies: of what was invalidated meanwhile
/// the echoes alone can tell. The process is suspended for less than its trust window, so it has not missed a proof, and
/// does not ask the primary itself.
async fn deafen(stage: &Stage, crew: &Crew, chance: &mut fastrand::Rng) -> Result<(), Error> {
    let _alone = stage.nodes.lock().await;
    let place = crew.reader_of(SPARING);
    let shards = stage.shards().await?;
    let Some(&(primary, replica)) = chance.choice(&shards) else { return Ok(()) };
    let node = stage.cluster.node(primary).address();
    let ids = listeners(&stage.cluster, primary).await?;
    stage.say(format!("SIGSTOP {}, all CLIENT KILL at {node}", crew.describe(place))).await;
    crew.suspend(place, true);
    cut(&stage.cluster, primary, &ids).await;
    pause(chance, 20, 150).await;
    stage.say(format!("SIGKILL {node}, SIGCONT {}", crew.describe(place))).await;
    let killed = stage.cluster.kill(primary).await;
    crew.suspend(place, false);
    killed?;
    stage.cluster.wait_promoted(replica, LIMIT).await?;
    stage.heal().await
}

/// A failover loses what was acknowledged, and of all processes only this one goes on: nobody else can tell the new
/// primary what it has heard.
async fn bereave(stage: &Stage, crew: &Crew, place: usize, chance: &mut fastrand::Rng) -> Result<(), Error> {
    let _alone = stage.nodes.lock().await;
    let shards = stage.shards().await?;
    let Some(&(primary, replica)) = chance.choice(&shards) else { return Ok(()) };
    let lost = stage.open(EdgeKind::Lost, primary).await?;
    let node = stage.cluster.node(primary).address();
    stage.say(format!("{node} parted from its replica")).await;
    stage.cluster.part(primary, replica).await?;
    pause(chance, 300, 1_000).await;
    stage.say(format!("SIGSTOP all but {}, SIGKILL {node}", crew.describe(place))).await;
    let others = || (0..crew.len()).filter(|&other| other != place);
    others().for_each(|other| crew.suspend(other, true));
    let promoted = match stage.cluster.kill(primary).await {
        Ok(()) => stage.cluster.wait_promoted(replica, LIMIT).await,
        killed => killed,
    };
    pause(chance, 500, 1_500).await;
    stage.say("SIGCONT all".to_owned()).await;
    others().for_each(|other| crew.suspend(other, false));
    stage.close(lost).await;
    promoted?;
    stage.heal().await
}
