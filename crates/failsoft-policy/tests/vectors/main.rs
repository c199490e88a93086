//! Carries out the vectors of `tests/vectors/*.yaml` in the root of the repository against the policy alone.

mod replicas;
mod run;
mod schema;
mod words;

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn every_vector() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder of the vectors is part of the repository")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    paths.sort();
    let (mut names, mut wrong) = (BTreeSet::new(), Vec::new());
    for path in &paths {
        let text = std::fs::read_to_string(path).expect("a readable file");
        let file: schema::File = serde_yaml_ng::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for vector in &file.vectors {
            assert!(names.insert(vector.name.clone()), "two vectors are called {:?}", vector.name);
            if let Err(problem) = run::run(&file, vector) {
                wrong.push(format!("{}: {}\n{problem}", path.file_name().unwrap().display(), vector.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} vectors failed:\n\n{}", wrong.len(), names.len(), wrong.join("\n\n"));
    assert!(names.len() >= 60, "only {} vectors were found", names.len());
}

#[test]
fn an_unknown_field_is_an_error() {
    let text = "about: x\nclusters: {}\nvectors:\n- name: x\n  steps:\n  - {at_ms: 0, anwser: nil}\n";
    let error = serde_yaml_ng::from_str::<schema::File>(text).err().expect("a misspelt field").to_string();
    assert!(error.contains("anwser"), "{error}");
}

#[test]
fn a_wrong_expectation_fails() {
    let text = "about: x\nclusters: {one: {p1: primary 0-16383 epoch 1}}\nvectors:\n- name: x\n  cluster: one\n  steps:\n  - {at_ms: 0, read: {}, expect: wait until 1}\n";
    let file: schema::File = serde_yaml_ng::from_str(text).unwrap();
    let problem = run::run(&file, &file.vectors[0]).expect_err("the read is sent");
    assert!(problem.contains("send p1 primary until 250"), "{problem}");
}
