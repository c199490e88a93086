//! What is done to the workers' processes meanwhile: they are suspended, or killed and replaced.

use crate::crew::Crew;
use crate::stage::{Stage, pause};

/// Which of `places` may be killed.
pub(crate) async fn run(stage: &Stage, crew: &mut Crew, mut chance: fastrand::Rng) -> Result<(), String> {
    loop {
        pause(&mut chance, 300, 2_000).await;
        let place = chance.usize(..crew.len());
        let who = crew.describe(place);
        if chance.u8(..4) == 0 {
            stage.say(format!("SIGKILL {who}")).await;
            crew.replace(place).await?;
            stage.count("process killed");
        } else {
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
