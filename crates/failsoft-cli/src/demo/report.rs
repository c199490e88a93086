//! What came of the demo: the closing table, the sentence, and the JSON object.

use super::board::{Phase, SOURCES, Tally, total};
use crate::output::thousands;
use failsoft::ServedBy;
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use std::fmt::Write as _;

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
        let mut text = format!("\n{:<16}{:>10}{:>8}{:>10}{:>9}", "phase", "reads", "failed", "worst ms", "p99 ms");
        for source in ServedBy::ALL {
            let _ = write!(text, "{:>11}", source.as_str());
        }
        for phase in &self.phases {
            let PhaseReport { name, reads, failed, worst_ms, p99_ms, served_by } = phase;
            row(&mut text, name, [*reads, *failed], [*worst_ms, *p99_ms], served_by);
        }
        row(&mut text, "all", [self.reads, self.failed], [self.worst_ms, self.p99_ms], &self.served_by);
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

fn row(text: &mut String, name: &str, counts: [u64; 2], times: [f64; 2], served: &[u64; SOURCES]) {
    let [reads, failed] = counts.map(thousands);
    let [worst, p99] = times;
    let _ = write!(text, "\n{name:<16}{reads:>10}{failed:>8}{worst:>10.1}{p99:>9.1}");
    for count in served {
        let _ = write!(text, "{:>11}", thousands(*count));
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
