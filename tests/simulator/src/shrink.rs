//! A failing seed, made small: faults and calls are left out while the same thing still goes wrong.

use crate::plan::Plan;
use crate::play;

/// The most runs that one seed's shrinking may take.
const MOST_RUNS: u32 = 600;
/// How many lines of the shrunk run are shown.
const SHOWN: usize = 40;

/// A failing seed and what is left of it.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The seed.
    pub seed: u64,
    /// The invariant that was broken, and how it is broken in what is left.
    pub problem: String,
    /// What is left: the cluster, its faults, and how many calls.
    pub plan: Vec<String>,
    /// The end of the shrunk run.
    pub trace: Vec<String>,
}

/// Shrinks a seed; none if it does not fail.
pub fn shrink(seed: u64) -> Option<Shrunk> {
    let mut plan = Plan::new(seed);
    let kind = kind_of(&play(&plan, false).problem?);
    let mut runs = 0;
    let mut fails = |plan: &Plan| {
        runs += 1;
        runs <= MOST_RUNS && play(plan, false).problem.is_some_and(|p| kind_of(&p) == kind)
    };
    leave_out(&mut plan, &mut fails, |p| &mut p.faults);
    leave_out(&mut plan, &mut fails, |p| &mut p.calls);
    leave_out(&mut plan, &mut fails, |p| &mut p.faults);
    let outcome = play(&plan, true);
    let mut words =
        vec![format!("{} primaries with {} replicas each, {:?}", plan.primaries, plan.replicas, plan.setup)];
    words.extend(plan.faults.iter().map(|f| {
        let ms = |time| time / crate::model::MS;
        format!("{} to {} ms: {:?}", ms(f.at), ms(f.until), f.fault)
    }));
    words.push(format!("{} calls, {} routers", plan.calls.len(), plan.routers.len()));
    let skipped = outcome.lines.len().saturating_sub(SHOWN);
    Some(Shrunk { seed, problem: outcome.problem?, plan: words, trace: outcome.lines[skipped..].to_vec() })
}

/// Leaves out what can be left out, in halves, quarters, and so on down to single ones.
fn leave_out<T: Clone>(
    plan: &mut Plan,
    fails: &mut impl FnMut(&Plan) -> bool,
    part: impl Fn(&mut Plan) -> &mut Vec<T>,
) {
    let mut size = part(plan).len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < part(plan).len() {
            let mut less = plan.clone();
            let end = (at + size).min(part(plan).len());
            part(&mut less).drain(at..end);
            if fails(&less) {
                *plan = less;
            } else {
                at += size;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
}

/// The problem without its numbers, which shrinking may change.
fn kind_of(problem: &str) -> String {
    problem.chars().filter(|c| !c.is_ascii_digit()).take(60).collect()
}
