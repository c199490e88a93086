//! The table at the end: scenario by binding.

use crate::run::Verdict;
use std::collections::{BTreeMap, BTreeSet};

/// What a cell of the table says.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Ran(Verdict),
    /// The binding cannot be in this scenario, and why.
    Cannot(String),
    /// This machine cannot run it, and why.
    NotChecked(String),
}

/// All results of a run, in the order in which the scenarios are listed.
#[derive(Default)]
pub(crate) struct Table {
    /// Theme and scenario, then binding.
    rows: Vec<(String, String, BTreeMap<String, Cell>)>,
}

impl Table {
    /// Adds one cell; cells of one scenario come one after the other.
    pub(crate) fn add(&mut self, theme: &str, scenario: &str, binding: &str, cell: Cell) {
        match self.rows.iter_mut().find(|(_, name, _)| name == scenario) {
            Some((_, _, cells)) => drop(cells.insert(binding.to_owned(), cell)),
            None => {
                let cells = BTreeMap::from([(binding.to_owned(), cell)]);
                self.rows.push((theme.to_owned(), scenario.to_owned(), cells));
            }
        }
    }

    pub(crate) fn count(&self, wanted: impl Fn(&Cell) -> bool) -> usize {
        self.rows.iter().flat_map(|(_, _, cells)| cells.values()).filter(|cell| wanted(cell)).count()
    }

    /// What this machine could not run.
    pub(crate) fn not_checked(&self) -> usize {
        self.count(|cell| matches!(cell, Cell::NotChecked(_)))
    }

    /// The scenarios that any binding failed.
    pub(crate) fn failed(&self) -> Vec<&str> {
        let bad = |cells: &BTreeMap<String, Cell>| cells.values().any(|cell| matches!(cell, Cell::Ran(Err(_))));
        self.rows.iter().filter(|(_, _, cells)| bad(cells)).map(|(_, name, _)| name.as_str()).collect()
    }

    /// The table, what failed and why, and the closing line.
    pub(crate) fn text(&self, bindings: &[String]) -> String {
        let widest = self.rows.iter().map(|(_, name, _)| name.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        let mut reasons = Vec::new();
        let mut not_checked = BTreeSet::new();
        let mut theme = "";
        let columns: Vec<_> = bindings.iter().map(|binding| (binding, binding.chars().count().max(6))).collect();
        for (of, name, cells) in &self.rows {
            if of != theme {
                theme = of;
                let heads: String = columns.iter().map(|(binding, width)| format!("  {binding:width$}")).collect();
                text += &format!("\n{theme:widest$}  {heads}\n", widest = widest + 2);
            }
            text += &format!("  {name:widest$}  ");
            for (binding, width) in &columns {
                let word = match cells.get(*binding) {
                    Some(Cell::Ran(Ok(()))) => "passed",
                    Some(Cell::Ran(Err(why))) => {
                        reasons.push(format!("FAILED: {name} [{binding}]: {why}"));
                        "FAILED"
                    }
                    Some(Cell::Cannot(why)) => {
                        reasons.push(format!("cannot: {name} [{binding}]: {why}"));
                        "cannot"
                    }
                    Some(Cell::NotChecked(why)) => {
                        not_checked.insert(format!("NOT CHECKED: {name}: {why}"));
                        "NOT CHECKED"
                    }
                    None => "",
                };
                text += &format!("  {word:width$}");
            }
            text = text.trim_end().to_owned() + "\n";
        }
        text += "\n";
        reasons.sort_by_key(|line| line.starts_with("FAILED"));
        for line in reasons.into_iter().chain(not_checked) {
            text += &line;
            text += "\n";
        }
        let passed = self.count(|cell| matches!(cell, Cell::Ran(Ok(()))));
        let failed = self.count(|cell| matches!(cell, Cell::Ran(Err(_))));
        let not_checked = match self.not_checked() {
            0 => String::new(),
            count => format!(", {count} NOT CHECKED"),
        };
        text + &format!("conformance: {passed} passed, {failed} failed{not_checked}")
    }
}
