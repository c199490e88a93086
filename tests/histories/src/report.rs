//! What a run came to, for people.

use crate::check::{Counts, Verdict};
use crate::stage::Done;
use std::collections::BTreeMap;

/// So many violations are shown with their traces.
const SHOWN: usize = 2;

/// Prints it; whether nothing was wrong.
pub(crate) fn report(counts: &Counts, done: &Done, verdict: &Verdict) -> bool {
    let listed = |entries: &mut dyn Iterator<Item = (String, u64)>| {
        let parts: Vec<_> = entries.map(|(name, count)| format!("{name} {count}")).collect();
        if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
    };
    let reads = listed(&mut counts.reads.iter().map(|(source, &count)| (source.as_str().to_owned(), count)));
    let failed = listed(&mut counts.failed.iter().map(|(code, &count)| (code.to_string(), count)));
    println!("operations   {}", counts.operations());
    println!(
        "reads        {reads}; {} checked, {} of them older than is invalidated by now",
        counts.checked, counts.older
    );
    println!("failed       {failed}");
    println!(
        "changes      {} commits; {} invalidations complete, {} incomplete; {} transactions whose writer died, seen by {} reads after the hold",
        counts.commits, counts.complete, counts.incomplete, counts.orphans, counts.survived
    );
    println!("faults       {}", listed(&mut done.faults.iter().map(|(fault, &count)| ((*fault).to_owned(), count))));
    done.in_vain.iter().for_each(|what| println!("             {what}"));
    let excused =
        verdict.excused.iter().map(|((edge, rule), &n)| (format!("{} ({})", edge.as_str(), rule.as_str()), n));
    println!("excused      {}", listed(&mut { excused }));
    let mut rules: BTreeMap<_, u64> = BTreeMap::new();
    verdict.violations.iter().for_each(|violation| *rules.entry(violation.rule.as_str()).or_default() += 1);
    println!("violations   {}", listed(&mut rules.iter().map(|(rule, &count)| ((*rule).to_owned(), count))));
    for violation in verdict.violations.iter().take(SHOWN) {
        println!("\nVIOLATION after {} operations: {}", violation.after, violation.text);
    }
    verdict.violations.is_empty()
}
