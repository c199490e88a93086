//! The demo as plain lines: where the output is no terminal, and above the picture where it is one.

use super::board::{Board, News, total};
use crate::output::thousands;
use std::time::Instant;

/// What there is to tell since the last time, a line each.
pub(super) fn news(board: &Board) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(news) = board.news() {
        lines.push(match news {
            News::Began(phase) => {
                let at = phase.began.duration_since(board.began).as_secs_f64();
                format!("{at:6.1} s  {}; fault: {}", phase.name, phase.fault)
            }
            News::Ended(phase, lasted) => {
                let at = (phase.began + lasted).duration_since(board.began).as_secs_f64();
                let tally = &phase.tally;
                let sources = tally.sources().filter(|(_, count)| *count > 0);
                let sources: Vec<_> = sources.map(|(source, count)| format!("{source} {}", thousands(count))).collect();
                format!(
                    "{at:6.1} s  {} ended: {} reads, {} failed, worst {:.1} ms; {}",
                    phase.name,
                    thousands(tally.reads),
                    tally.failed,
                    tally.latency.max_ms(),
                    sources.join(", ")
                )
            }
        });
    }
    lines
}

/// How it goes, in the middle of a phase.
pub(super) fn progress(board: &Board) -> Option<String> {
    let phases = board.phases();
    let (phase, total) = (phases.last()?, total(&phases));
    Some(format!(
        "{:6.1} s  {}: {} reads, {} failed so far; fault: {}",
        Instant::now().duration_since(board.began).as_secs_f64(),
        phase.name,
        thousands(total.reads),
        total.failed,
        phase.fault
    ))
}
