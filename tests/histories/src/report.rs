//! What a run came to, for people.

use crate::check::Verdict;
use crate::event::Counts;
use crate::record::Source;
use crate::stage::Done;
use std::collections::BTreeMap;

/// So many violations are shown with their traces.
const SHOWN: usize = 2;

/// Prints it; whether nothing was wrong, and enough was put to the test to say so.
pub(crate) fn report(counts: &Counts, done: &Done, verdict: &Verdict) -> bool {
    let of_primaries = counts.reads.get(&Source::Primary).copied().unwrap_or_default();
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
    // Then little was put to the test.
    let few = of_primaries * 10 < counts.checked || counts.complete * 1_000 < counts.checked || done.faults.is_empty();
    if few {
        println!("\nerror: few reads were served by primaries, few changes were complete, or nothing failed");
    }
    verdict.violations.is_empty() && !few
}
