//! The proof that the suite can fail: each wrong behaviour of the policy is caught by a scenario.

use crate::driver::{Driver, Program};
use crate::scenario::Scenario;
use crate::suite;
use failsoft_policy::mutant::Mutant;
use futures_util::{StreamExt as _, TryStreamExt as _};
use std::sync::Arc;
use std::time::Duration;

/// How long a condition is waited for: with a wrong behaviour many never come true.
const PATIENCE: Duration = Duration::from_secs(8);

/// Mutants that run at once: their scenarios mostly wait.
const AT_ONCE: usize = 3;

/// Runs the scenarios on scripted nodes against each mutant, and prints who caught it.
pub(crate) async fn run(scenarios: &[Scenario], rust: &Program) -> Result<bool, String> {
    if cfg!(not(feature = "mutants")) {
        return Err("built without the feature `mutants`".to_owned());
    }
    let sound = suite::run_all(scenarios, &[start(rust, None).await?], &[], None).await?;
    if !sound.failed().is_empty() {
        println!("{}", sound.text(std::slice::from_ref(&rust.name)));
        return Err("without any mutant the suite fails".to_owned());
    }
    let each = Mutant::ALL.iter().map(|&mutant| async move {
        let driver = start(rust, Some(mutant)).await?;
        let table = suite::run_all(scenarios, &[driver], &[], Some(PATIENCE)).await?;
        Ok::<_, String>((mutant.as_str(), table.failed().into_iter().map(str::to_owned).collect::<Vec<_>>()))
    });
    let all = futures_util::stream::iter(each).buffered(AT_ONCE).try_collect::<Vec<_>>().await?;
    let widest = Mutant::ALL.iter().map(|mutant| mutant.as_str().len()).max().unwrap_or(0);
    println!("{:widest$}  caught by", "mutant");
    for (mutant, caught) in &all {
        let nobody = if caught.is_empty() { "MISSED" } else { "" };
        println!("{mutant:widest$}  {}{nobody}", caught.first().map_or("", String::as_str));
        caught.iter().skip(1).for_each(|name| println!("{:widest$}  {name}", ""));
    }
    let missed = all.iter().filter(|(_, caught)| caught.is_empty()).count();
    println!("\nmutants: {} caught, {missed} missed", all.len() - missed);
    Ok(missed == 0)
}

async fn start(rust: &Program, mutant: Option<Mutant>) -> Result<Arc<Driver>, String> {
    let env = mutant.map(|mutant| ("FAILSOFT_MUTANT".to_owned(), mutant.as_str().to_owned()));
    let program = Program { env: env.into_iter().collect(), ..rust.clone() };
    Driver::start(&program).await.map(Arc::new)
}
