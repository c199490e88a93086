//! The proof that the suite can fail: each wrong behaviour of the policy is caught by a scenario.

use crate::driver::{Driver, Program};
use crate::scenario::Scenario;
use crate::suite;
use failsoft_policy::mutant::Mutant;
use std::sync::Arc;
use std::time::Duration;

/// How long a condition is waited for: with a wrong behaviour many never come true.
const PATIENCE: Duration = Duration::from_secs(8);

/// Runs the scenarios on scripted nodes against each mutant, and prints who caught it.
pub(crate) async fn run(scenarios: &[Scenario], rust: &Program) -> Result<bool, String> {
    if cfg!(not(feature = "mutants")) {
        return Err("built without the feature `mutants`".to_owned());
    }
    let sound = suite::run_all(scenarios, &[start(rust, None).await?], &[], None).await?;
    if !sound.failed().is_empty() {
        println!("{}", sound.text(&[rust.name.clone()]));
        return Err("without any mutant the suite fails".to_owned());
    }
    let mut missed = Vec::new();
    for &mutant in Mutant::ALL {
        let driver = start(rust, Some(mutant)).await?;
        let table = suite::run_all(scenarios, &[driver], &[], Some(PATIENCE)).await?;
        let caught = table.failed();
        println!(
            "\n{}: caught by {} of {} scenarios",
            mutant.as_str(),
            caught.len(),
            scenarios.iter().filter(|s| !s.is_real()).count()
        );
        for name in &caught {
            println!("    {name}");
        }
        if caught.is_empty() {
            missed.push(mutant.as_str());
        }
    }
    println!("\nmutants: {} caught, {} missed {}", Mutant::ALL.len() - missed.len(), missed.len(), missed.join(" "));
    Ok(missed.is_empty())
}

async fn start(rust: &Program, mutant: Option<Mutant>) -> Result<Arc<Driver>, String> {
    let env = mutant.map(|mutant| ("FAILSOFT_MUTANT".to_owned(), mutant.as_str().to_owned()));
    let program = Program { env: env.into_iter().collect(), ..rust.clone() };
    Driver::start(&program).await.map(Arc::new)
}
