//! What came of the demo: the closing table, the sentence, and the JSON object.

use super::board::{Phase, SOURCES, Tally, total};
use crate::output::thousands;
use failsoft::ServedBy;
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use std::fmt::Write as _;

/// The columns of the sources: with the others, as wide as a small terminal.
const SOURCE_WIDTHS: [usize; SOURCES] = [5, 9, 9, 10, 6, 5];

/// The whole account. Its fields are those of `--json`.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) reads: u64,
    /// Errors and wrong values.
    pub(super) failed: u64,
    worst_ms: f64,
    p99_ms: f64,
    #[serde(serialize_with = "by_source")]
    served_by: [u64; SOURCES],
    /// Runs of the fallback.
    loads: u64,
    /// The most loads of one key at the same time; of the herds' keys: all their loads.
    loads_per_key_max: u64,
    phases: Vec<PhaseReport>,
    server: String,
    version: &'static str,
}

#[derive(Serialize)]
struct PhaseReport {
    name: &'static str,
    reads: u64,
    failed: u64,
    worst_ms: f64,
    p99_ms: f64,
    #[serde(serialize_with = "by_source")]
    served_by: [u64; SOURCES],
}

impl Report {
    pub(super) fn new(phases: &[Phase], loads: u64, loads_per_key_max: u64, server: String) -> Self {
        let Tally { reads, failed, served, latency } = total(phases);
        Self {
            reads,
            failed,
            worst_ms: latency.max_ms(),
            p99_ms: latency.quantile_ms(0.99),
            served_by: served,
            loads,
            loads_per_key_max,
            phases: phases.iter().map(PhaseReport::new).collect(),
            server,
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// The table of the phases, and what it comes to in words.
    pub(super) fn text(&self) -> String {
        // One that a demo seldom has gets no column before it has served something.
        let shown = self.served_by.map(|count| count > 0);
        let mut text = "\nReads by phase and by the source that served them; times in milliseconds.\n".to_owned();
        let _ = write!(text, "{:<15}{:>10}{:>7}{:>7}{:>7}", "phase", "reads", "failed", "worst", "p99");
        for ((source, width), _) in ServedBy::ALL.iter().zip(SOURCE_WIDTHS).zip(shown).filter(|(_, shown)| *shown) {
            let _ = write!(text, "{:>width$}", source.as_str());
        }
        for phase in &self.phases {
            let PhaseReport { name, reads, failed, worst_ms, p99_ms, served_by } = phase;
            row(&mut text, name, [*reads, *failed], [*worst_ms, *p99_ms], (served_by, shown));
        }
        row(&mut text, "all", [self.reads, self.failed], [self.worst_ms, self.p99_ms], (&self.served_by, shown));
        let _ = write!(
            text,
            "\n\nfailed: {}\nloads: {}; of one key at the same time: at most {}\n\n{}",
            self.failed,
            thousands(self.loads),
            self.loads_per_key_max,
            self.verdict()
        );
        text
    }

    fn verdict(&self) -> String {
        let reads = thousands(self.reads);
        if self.failed > 0 {
            return format!("{} of {reads} reads FAILED on {}.", thousands(self.failed), self.server);
        }
        let sources = ServedBy::ALL.iter().zip(self.served_by).filter(|(_, count)| *count > 0);
        let shares: Vec<_> = sources
            .map(|(source, count)| format!("{:.1}% by {source}", 100.0 * count as f64 / self.reads as f64))
            .collect();
        format!(
            "Not one of {reads} reads failed on {}: {}; the worst took {:.0} ms.",
            self.server,
            shares.join(", "),
            self.worst_ms
        )
    }
}

impl PhaseReport {
    fn new(phase: &Phase) -> Self {
        let Tally { reads, failed, served, latency } = &phase.tally;
        Self {
            name: phase.name,
            reads: *reads,
            failed: *failed,
            worst_ms: latency.max_ms(),
            p99_ms: latency.quantile_ms(0.99),
            served_by: *served,
        }
    }
}

fn row(
    text: &mut String,
    name: &str,
    counts: [u64; 2],
    times: [f64; 2],
    (served, shown): (&[u64; SOURCES], [bool; SOURCES]),
) {
    let [reads, failed] = counts.map(thousands);
    let [worst, p99] = times;
    let _ = write!(text, "\n{name:<15}{reads:>10}{failed:>7}{worst:>7.1}{p99:>7.1}");
    for ((count, width), _) in served.iter().zip(SOURCE_WIDTHS).zip(shown).filter(|(_, shown)| *shown) {
        let _ = write!(text, "{:>width$}", thousands(*count));
    }
}

/// An object with every source, in their order.
fn by_source<S: Serializer>(served: &[u64; SOURCES], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(SOURCES))?;
    for (source, count) in ServedBy::ALL.iter().zip(served) {
        map.serialize_entry(source.as_str(), count)?;
    }
    map.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    /// The report of one phase with a million reads by each source, and that many that failed.
    fn report(failed: u64) -> Report {
        let mut tally = Tally::new();
        tally.served = [0, 1_000_000, 1_000_000, 1_000_000, 0, 0];
        (tally.failed, tally.reads) = (failed, 3_000_000 + failed);
        tally.latency.add(Duration::from_millis(573));
        let (name, began) = ("cluster cut off", Instant::now());
        let phase = Phase { name, fault: String::new(), began, share: Duration::ZERO, tally };
        Report::new(&[phase], 1_000_000, 1, "valkey 9.1.2".to_owned())
    }

    #[test]
    fn the_table_fits_a_small_terminal() {
        let text = report(0).text();
        let table = text.lines().skip(1).take(4);
        assert!(table.clone().all(|line| line.len() <= 80), "{text}");
        assert!(table.last().is_some_and(|line| line.starts_with("all ") && line.contains("3,000,000")), "{text}");
    }

    #[test]
    fn the_sentence_says_whether_reads_failed() {
        assert!(report(0).text().contains("Not one of 3,000,000 reads failed on valkey 9.1.2: 33.3% by primary"));
        assert!(report(2).text().contains("2 of 3,000,002 reads FAILED"));
    }
}
