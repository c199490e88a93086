//! The account of `outages`: tables or JSON, with every bound and whether it was reached.

use super::Fault;
use super::figures::{FROM_1_S, FROM_2_S, Figures, Latency};
use super::load::{READERS, STORE};
use crate::{Problem, dataset, table::table};
use serde::Serialize;
use std::collections::BTreeMap;

/// One attempt timeout, as the router has it by default, and the slack that the bound gives it.
const WORST: f64 = 250.0 + 50.0;

/// All faults of one run.
pub(super) struct Report {
    pub(super) server: String,
    pub(super) runs: Vec<(Fault, Figures)>,
}

/// A bound and what was measured. A missing figure is not reached.
#[derive(Debug, Serialize)]
struct Bound {
    what: &'static str,
    allowed: f64,
    measured: Option<f64>,
    reached: bool,
}

pub(super) fn title(fault: Fault) -> &'static str {
    match fault {
        Fault::Kill => "primary killed",
        Fault::Hang => "primary hung, then continued",
        Fault::Slot => "slot moved by hand, ASK held open",
        Fault::AllHang => "all six nodes hung, then continued",
    }
}

fn name(fault: Fault) -> &'static str {
    match fault {
        Fault::Kill => "kill",
        Fault::Hang => "hang",
        Fault::Slot => "slot",
        Fault::AllHang => "all-hang",
    }
}

fn bounds(fault: Fault, figures: &Figures) -> Vec<Bound> {
    let window = |name, latency: fn(&super::figures::Window) -> Latency| {
        figures.window(name).map(latency).filter(|latency| latency.reads > 0)
    };
    let struck_p99 = |name| window(name, |w| w.struck).map(|latency| latency.p99);
    let mut bounds = vec![at_most("failed reads", 0.0, Some(figures.failed as f64))];
    match fault {
        Fault::Kill => bounds.extend([
            at_most("worst read, ms", 300.0, Some(figures.worst)),
            at_most("longest time without any good read, ms", 50.0, Some(figures.longest_gap)),
        ]),
        Fault::Hang => {
            let served_in_time = figures.promoted_serves_in_time.unwrap_or(false);
            let (unchecked, believed) = figures.unchecked.unzip();
            bounds.extend([
                at_most("worst read, ms", WORST, Some(figures.worst)),
                at_most("until the lost slots are read again, ms", 300.0, Some(figures.longest_gap_struck)),
                at_most("p99 of the lost slots from 1 s to SIGCONT, ms", 20.0, struck_p99(FROM_1_S)),
                at_most(
                    "promotion until the promoted node serves, before SIGCONT, ms",
                    1500.0,
                    figures.promoted_serves_after.filter(|_| served_in_time),
                ),
                at_most("reads by the old primary before its role was checked", 0.0, unchecked.map(|n| n as f64)),
                at_most("reads by the old primary as a primary", 0.0, believed.map(|n| n as f64)),
            ]);
        }
        Fault::Slot => {
            let secondary = figures.served_by.get("secondary").copied().unwrap_or(0);
            bounds.push(at_most("reads sent to the secondary", 0.0, Some(secondary as f64)));
        }
        Fault::AllHang => bounds.push(at_most("p99 from 2 s to SIGCONT, ms", 50.0, struck_p99(FROM_2_S))),
    }
    bounds
}

fn at_most(what: &'static str, allowed: f64, measured: Option<f64>) -> Bound {
    Bound { what, allowed, measured, reached: measured.is_some_and(|measured| measured <= allowed) }
}

impl Report {
    pub(super) fn json(&self) -> Result<String, Problem> {
        let faults: Vec<_> = (self.runs.iter())
            .map(|(fault, figures)| {
                serde_json::json!({ "fault": name(*fault), "figures": figures, "bounds": bounds(*fault, figures) })
            })
            .collect();
        let report = serde_json::json!({ "server": self.server, "readers": READERS, "keys": dataset::KEYS,
            "store_ms": STORE.as_millis(), "faults": faults });
        Ok(serde_json::to_string(&report)?)
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "{}, 3 primaries and 3 replicas, node timeout 2 s; {READERS} readers with a pause of 1 ms, {} keys, a \
             fallback of {} ms\n",
            self.server,
            dataset::KEYS,
            STORE.as_millis()
        );
        for (fault, figures) in &self.runs {
            text += &format!("\n{} ({:.1} s)\n\n", title(*fault), figures.lasted / 1000.0);
            text += &window_table(figures);
            text.push('\n');
            for (what, figure) in lines(figures) {
                text += &format!("  {what}: {figure}\n");
            }
            text.push('\n');
            text += &table(&bound_rows(&bounds(*fault, figures)));
        }
        text
    }
}

fn window_table(figures: &Figures) -> String {
    let heading = [
        "reads that began",
        "struck slots: reads",
        "p50 ms",
        "p99 ms",
        "worst ms",
        "others: reads",
        "p99 ms",
        "worst ms",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for window in &figures.windows {
        let (struck, healthy) = (&window.struck, &window.healthy);
        let ms =
            |latency: &Latency, figure: f64| if latency.reads == 0 { "-".to_owned() } else { format!("{figure:.1}") };
        rows.push(vec![
            window.name.to_owned(),
            struck.reads.to_string(),
            ms(struck, struck.p50),
            ms(struck, struck.p99),
            ms(struck, struck.worst),
            healthy.reads.to_string(),
            ms(healthy, healthy.p99),
            ms(healthy, healthy.worst),
        ]);
    }
    table(&rows)
}

/// What is no window and no bound.
fn lines(figures: &Figures) -> Vec<(&'static str, String)> {
    let ms = |figure: f64| format!("{figure:.0} ms");
    let mut lines = vec![
        ("reads", format!("{}, {} failed", figures.reads, figures.failed)),
        ("served during the fault", sources(&figures.served_by)),
        ("served during the fault, struck slots", sources(&figures.served_by_struck)),
        ("longest time without a good read", ms(figures.longest_gap)),
        ("the same, struck slots", ms(figures.longest_gap_struck)),
        ("reads of struck slots that took a second attempt", figures.second_attempts.to_string()),
    ];
    lines.extend(figures.promoted_after.map(|at| ("replica promoted after", ms(at))));
    lines.extend(figures.promoted_serves_after.map(|at| ("promoted until it served as a primary", ms(at))));
    lines.extend(figures.readmitted_after.map(|at| ("SIGCONT until the router trusts the node again", ms(at))));
    lines
}

fn sources(sources: &BTreeMap<&'static str, u64>) -> String {
    let parts: Vec<_> = sources.iter().map(|(source, count)| format!("{source} {count}")).collect();
    parts.join(", ")
}

fn bound_rows(bounds: &[Bound]) -> Vec<Vec<String>> {
    let mut rows = vec![["bound", "allowed", "measured", ""].map(str::to_owned).to_vec()];
    rows.extend(bounds.iter().map(|bound| {
        let measured = bound.measured.map_or_else(|| "none".to_owned(), |measured| format!("{measured:.1}"));
        let verdict = if bound.reached { "reached" } else { "NOT REACHED" };
        vec![bound.what.to_owned(), format!("{}", bound.allowed), measured, verdict.to_owned()]
    }));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_that_is_missing_is_no_bound_reached() {
        assert!(!at_most("x", 1.0, None).reached);
        assert!(at_most("x", 0.0, Some(0.0)).reached);
        assert!(!at_most("x", 0.0, Some(1.0)).reached);
    }
}
