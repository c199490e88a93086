//! The account of `cpu`: medians with their spread, and Failsoft beside the best peer.

use super::Client;
use super::measure::Measured;
use crate::{Problem, dataset, table::table};
use serde_json::{Value, json};

/// Failsoft beside the better peer, at this many in flight, may cost at most this share.
const BUDGET: (usize, f64) = (64, 0.5);

/// The C library beside Rust, from that many in flight on, may cost at most this share.
const C_BUDGET: f64 = 1.2;

/// One client at one number in flight.
pub(super) struct Row {
    pub(super) client: Client,
    pub(super) in_flight: usize,
    pub(super) rounds: Vec<Measured>,
}

/// Everything that was measured.
pub(super) struct Report {
    pub(super) server: String,
    pub(super) current_thread: bool,
    pub(super) rows: Vec<Row>,
}

/// The median and the extremes.
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Report {
    pub(super) fn text(&self) -> String {
        let mut in_flight: Vec<_> = self.rows.iter().map(|row| row.in_flight).collect();
        in_flight.dedup();
        let first = in_flight.first().copied();
        let clients: Vec<_> = self.rows.iter().filter(|r| Some(r.in_flight) == first).map(|r| r.client).collect();
        let mut rows =
            vec![std::iter::once("in flight".to_owned()).chain(in_flight.iter().map(usize::to_string)).collect()];
        for client in clients {
            let cell = |&n| self.row(client, n).map_or_else(String::new, |row| row.spread(Measured::cpu).text());
            rows.push(std::iter::once(client.title().to_owned()).chain(in_flight.iter().map(cell)).collect());
        }
        let mut text = format!(
            "CPU time of the client process (user and system), microseconds for each GET of {} bytes;\n\
             {}, 3 primaries; {}; median (min to max) of {} rounds\n\n{}\n",
            dataset::VALUE,
            self.server,
            self.runtime(),
            self.rows.first().map_or(0, |row| row.rounds.len()),
            table(&rows),
        );
        for &n in &in_flight {
            let Some((peer, ratios)) = self.ratios(n) else { continue };
            let budget = if n == BUDGET.0 {
                let verdict = if ratios.median <= BUDGET.1 { "reached" } else { "not reached" };
                format!("; budget {}: {verdict}", BUDGET.1)
            } else {
                String::new()
            };
            let title = peer.title();
            text += &format!("failsoft / best peer ({title}) at {n} in flight: {}{budget}\n", ratios.text());
        }
        for &n in &in_flight {
            for client in [Client::C, Client::CFd] {
                let Some(ratios) = self.beside(client, Client::Failsoft, n) else { continue };
                let verdict = if ratios.median <= C_BUDGET { "reached" } else { "not reached" };
                let budget = if n >= BUDGET.0 { format!("; budget {C_BUDGET}: {verdict}") } else { String::new() };
                text += &format!("{} / failsoft in Rust at {n} in flight: {}{budget}\n", client.title(), ratios.text());
            }
        }
        text
    }

    pub(super) fn json(&self) -> Result<String, Problem> {
        let rows: Vec<_> = self.rows.iter().map(Row::json).collect();
        let ratio = self.ratios(BUDGET.0).map(|(peer, ratios)| {
            json!({ "in_flight": BUDGET.0, "peer": peer.title(), "median": ratios.median, "min": ratios.min,
                "max": ratios.max, "budget": BUDGET.1, "reached": ratios.median <= BUDGET.1 })
        });
        let report = json!({ "server": self.server, "value_bytes": dataset::VALUE, "runtime": self.runtime(),
            "unit": "microseconds of CPU for each read", "results": rows, "failsoft_to_best_peer": ratio });
        Ok(serde_json::to_string(&report)?)
    }

    fn runtime(&self) -> &'static str {
        if self.current_thread { "one thread" } else { "tokio with 2 workers" }
    }

    fn row(&self, client: Client, in_flight: usize) -> Option<&Row> {
        self.rows.iter().find(|row| row.client == client && row.in_flight == in_flight)
    }

    /// Failsoft's share of what the better peer costs, round by round; the better peer is the one with
    /// the lower median.
    fn ratios(&self, in_flight: usize) -> Option<(Client, Spread)> {
        let ours = self.row(Client::Failsoft, in_flight)?;
        let peers = self.rows.iter().filter(|row| row.client.is_peer() && row.in_flight == in_flight);
        let median = |row: &Row| row.spread(Measured::cpu).median;
        let best = peers.min_by(|a, b| median(a).total_cmp(&median(b)))?;
        Some((best.client, ours.beside(best)))
    }

    /// One client's share of what another one costs.
    fn beside(&self, client: Client, other: Client, in_flight: usize) -> Option<Spread> {
        Some(self.row(client, in_flight)?.beside(self.row(other, in_flight)?))
    }
}

impl Row {
    /// Its share of what another one costs, round by round.
    fn beside(&self, other: &Self) -> Spread {
        Spread::of(self.rounds.iter().zip(&other.rounds).map(|(ours, theirs)| ours.cpu() / theirs.cpu()).collect())
    }

    fn spread(&self, figure: impl Fn(&Measured) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(figure).collect())
    }

    fn json(&self) -> Value {
        let cpu = self.spread(Measured::cpu);
        json!({ "client": self.client.title(), "in_flight": self.in_flight,
            "median": cpu.median, "min": cpu.min, "max": cpu.max,
            "user": self.spread(|m| m.user).median, "system": self.spread(|m| m.system).median,
            "reads_per_second": self.spread(|m| m.per_second).median, "rounds": self.rounds })
    }
}

impl Spread {
    /// Of at least one figure.
    fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let (half, last) = (figures.len() / 2, figures.len() - 1);
        let median =
            if figures.len() % 2 == 1 { figures[half] } else { f64::midpoint(figures[half - 1], figures[half]) };
        Self { median, min: figures[0], max: figures[last] }
    }

    fn text(&self) -> String {
        format!("{:.2} ({:.2} to {:.2})", self.median, self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(client: Client, cpu: [f64; 3]) -> Row {
        let measured = |user| Measured { reads: 1, user, system: 0.0, per_second: 1.0 };
        Row { client, in_flight: 64, rounds: cpu.map(measured).to_vec() }
    }

    #[test]
    fn the_ratio_is_to_the_better_peer_and_the_budget_is_judged_by_the_median() {
        let rows = vec![
            row(Client::Raw, [0.1, 0.1, 0.1]),
            row(Client::Redis, [5.0, 5.0, 5.0]),
            row(Client::Fred, [4.0, 4.0, 8.0]),
            row(Client::Failsoft, [2.0, 1.0, 8.0]),
        ];
        let text = Report { server: "s".to_owned(), current_thread: false, rows }.text();
        assert!(
            text.contains("best peer (fred 10 cluster) at 64 in flight: 0.50 (0.25 to 1.00); budget 0.5: reached"),
            "{text}"
        );
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert!((Spread::of(vec![4.0, 1.0, 2.0, 3.0]).median - 2.5).abs() < 1e-9);
    }
}
