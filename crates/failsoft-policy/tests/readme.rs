//! The README's table of settings says what the code does: every key, with its default and its range. What
//! docs/freshness.md recommends is what the code takes.

use failsoft_policy::config::{Config, Kind};
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn the_readme_lists_every_setting_with_its_default_and_range() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(&path).expect("the README is at the root of the workspace");
    let rows: BTreeSet<&str> = readme.lines().filter(|line| line.starts_with("| `")).collect();

    let absent: Vec<String> = Config::KEYS
        .iter()
        .map(|key| format!("| `{}` | {} | {} |", key.name, key.default, key.kind))
        .filter(|start| !rows.iter().any(|row| row.starts_with(start.as_str())))
        .collect();

    assert!(absent.is_empty(), "rows that the README lacks:\n{}", absent.join("\n"));
}

#[test]
fn what_the_page_on_freshness_recommends_can_be_set() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/freshness.md");
    let page = std::fs::read_to_string(&path).expect("the page is beside the others");
    let recipes = page.split("## What to set").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the recipes");
    let mut config = Config::default();
    let mut set = 0;
    for row in recipes.lines().filter_map(|line| line.strip_prefix("| `")) {
        let (name, value) = row.trim_end_matches(" |").split_once("` | ").expect("a name and a value");
        let key = Config::KEYS.iter().find(|key| key.name == name).expect("a setting");
        let is_duration = matches!(key.kind, Kind::Duration { .. });
        let result = if is_duration {
            let seconds: f64 = value.parse().expect("seconds");
            config.set_text(&format!("{name}_ms"), &(seconds * 1000.0).to_string())
        } else {
            config.set_text(name, value)
        };
        result.unwrap_or_else(|error| panic!("{name} = {value}: {error:?}"));
        set += 1;
    }
    assert!(set >= 15, "{set} settings");
}
