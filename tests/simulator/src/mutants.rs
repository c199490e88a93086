//! Shows that the simulator can fail: each wrong behaviour of the policy, and how many seeds found it.

use failsoft_policy::mutant::{Mutant, choose};
use failsoft_simulator::run;
use std::process::ExitCode;

/// Runs the seeds against each mutant until one of them fails.
pub(crate) fn find(start: u64, seeds: u64) -> ExitCode {
    let mut missed = 0;
    println!("{:<32} {:>8}  what went wrong", "mutant", "seeds");
    for &mutant in Mutant::ALL {
        choose(mutant);
        let found = (start..start + seeds).find_map(|seed| Some((seed, run(seed).problem?)));
        match found {
            Some((seed, problem)) => println!("{:<32} {:>8}  {problem}", mutant.as_str(), seed - start + 1),
            None => {
                missed += 1;
                println!("{:<32} {:>8}  not found in {seeds} seeds", mutant.as_str(), "-");
            }
        }
    }
    println!("{missed} of {} not found", Mutant::ALL.len());
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
