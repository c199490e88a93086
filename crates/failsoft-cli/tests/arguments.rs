//! Arguments that are wrong are told, with exit code 2, before anything is started.
#![allow(clippy::unwrap_used, reason = "a test may end with a panic")]

mod common;

use common::{Done, done, failsoft};

#[track_caller]
fn refused(args: &[&str], words: &[&str]) {
    let Done { code, out, err } = done(&mut failsoft(args));
    assert_eq!(code, Some(2), "{args:?}: {err}");
    assert!(out.is_empty(), "{args:?}: a result on standard output");
    for word in words {
        assert!(err.contains(word), "{args:?}: {word:?} is not in {err:?}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    let help = done(&mut failsoft(&["--help"]));
    let text = String::from_utf8(help.out).unwrap();
    assert_eq!(help.code, Some(0));
    assert!(["get", "invalidate", "bench", "demo"].iter().all(|name| text.contains(name)), "{text}");
    let version = done(&mut failsoft(&["--version"]));
    assert_eq!(version.code, Some(0));
    assert_eq!(version.out, format!("failsoft {}\n", env!("CARGO_PKG_VERSION")).into_bytes());
}

#[test]
fn commands_and_nodes_are_needed() {
    refused(&[], &["Usage"]);
    refused(&["brew"], &["brew"]);
    refused(&["get"], &["<KEY>", "--node"]);
    refused(&["get", "k"], &["--node"]);
    refused(&["invalidate"], &["<KEY>", "--node"]);
    refused(&["invalidate", "k"], &["--node"]);
    refused(&["bench"], &["--node"]);
}

#[test]
fn addresses_and_settings_are_named_with_what_is_allowed() {
    refused(&["get", "k", "--node", "nowhere:"], &["nodes", "nowhere:", "host:port"]);
    refused(&["invalidate", "k", "--node", "nowhere:"], &["nodes", "nowhere:", "host:port"]);
    refused(&["get", "k", "--node", "http://127.0.0.1:1"], &["nodes", "http://127.0.0.1:1", "redis://"]);
    let set = |setting| ["get", "k", "--node", "127.0.0.1:1", "--set", setting];
    refused(&set("deadline_ms"), &["key=value"]);
    refused(&set("dedline_ms=5"), &["dedline_ms", "deadline_ms"]);
    refused(&set("deadline_ms=soon"), &["deadline_ms", "soon"]);
    refused(&set("max_retries=-1"), &["max_retries", "-1"]);
}

#[test]
fn every_bound_is_held() {
    for args in [
        ["bench", "--seconds", "0"],
        ["bench", "--seconds", "601"],
        ["bench", "--readers", "0"],
        ["bench", "--in-flight", "257"],
        ["bench", "--keys", "0"],
        ["bench", "--value-bytes", "67108865"],
        ["demo", "--seconds", "14"],
        ["demo", "--seconds", "601"],
        ["demo", "--primaries", "0"],
        ["demo", "--replicas", "5"],
    ] {
        refused(&args, &[args[1], args[2]]);
    }
}

#[test]
fn a_password_in_the_environment_is_not_shown() {
    let done = done(failsoft(&["get", "--help"]).env("FAILSOFT_NODES", "redis://:secret@127.0.0.1:1"));
    assert_eq!(done.code, Some(0));
    assert!(!String::from_utf8(done.out).unwrap().contains("secret"));
}

#[test]
fn the_demo_says_how_to_get_a_server() {
    refused(&["demo", "--server", "/no/such/server"], &["/no/such/server"]);
    refused(&["demo", "--server", "redis-1.0"], &["redis-1.0", "valkey-9.1"]);
    let empty = tempfile::tempdir().unwrap();
    let mut command = failsoft(&["demo"]);
    command.current_dir(&empty).env("PATH", empty.path()).env_remove("FAILSOFT_SERVER").env_remove("FAILSOFT_PYTHON");
    let Done { code, err, .. } = done(&mut command);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("no server found") && err.contains("pip install"), "{err}");
}
