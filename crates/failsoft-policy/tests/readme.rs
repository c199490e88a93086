//! The README's table of settings says what the code does: every key, with its default and its range.

use failsoft_policy::config::Config;
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
