//! `failsoft get` on a real server, and on one that answers with errors.
#![allow(clippy::unwrap_used, reason = "a test may end with a panic")]

mod common;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::{Done, done, failsoft};
use failsoft_testkit::{Behaviour, ScriptedNode, Server, Standalone};
use serde_json::{Value, json};
use std::{
    fs,
    process::Command,
    sync::mpsc,
    time::{Duration, Instant},
};

const LIMIT: Duration = Duration::from_secs(20);

async fn server() -> Standalone {
    let server = Server::find(None).expect("a server");
    Standalone::start(&server, &[]).await.expect("it starts")
}

/// The command beside the scripted node's tasks.
async fn run(mut command: Command) -> Done {
    tokio::task::spawn_blocking(move || done(&mut command)).await.unwrap()
}

async fn get(address: &str, args: &[&str]) -> Done {
    run(failsoft(&[&["get", "--node", address], args].concat())).await
}

#[tokio::test]
async fn a_value_comes_byte_for_byte_with_its_account() {
    let server = server().await;
    server.command(&["SET", "k", "v\n"]).await.unwrap();
    let plain = get(&server.address(), &["k"]).await;
    assert_eq!((plain.code, plain.out.as_slice()), (Some(0), b"v\n".as_slice()), "{}", plain.err);
    let node = format!("node={}", server.address());
    assert!(plain.err.contains("served_by=primary reason=- attempts=1") && plain.err.contains(&node), "{}", plain.err);

    let mut account = get(&server.address(), &["k", "--json"]).await.json();
    let took = account.as_object_mut().unwrap().remove("took_ms").unwrap();
    assert!(took.as_f64().unwrap() > 0.0);
    let expected = json!({
        "found": true, "value": "v\n", "served_by": "primary", "reason": null, "attempts": 1,
        "coalesced": false, "node": server.address(), "age_ms": 0.0,
    });
    assert_eq!(account, expected);

    server.command(&[b"SET".as_slice(), b"bytes", b"\xff\x00"]).await.unwrap();
    let account = get(&server.address(), &["bytes", "--json"]).await.json();
    assert_eq!(account["value_base64"], STANDARD.encode(b"\xff\x00"));
    assert_eq!(account.get("value"), None);
}

#[tokio::test]
async fn the_nodes_may_come_from_the_environment() {
    let server = server().await;
    server.command(&["SET", "k", "v"]).await.unwrap();
    let mut command = failsoft(&["get", "k"]);
    command.env("FAILSOFT_NODES", format!("127.0.0.1:1,redis://{}", server.address()));
    let found = run(command).await;
    assert_eq!((found.code, found.out.as_slice()), (Some(0), b"v".as_slice()), "{}", found.err);
}

#[tokio::test]
async fn a_missing_key_has_its_own_exit_code() {
    let server = server().await;
    let plain = get(&server.address(), &["k"]).await;
    assert_eq!((plain.code, plain.out.as_slice()), (Some(1), b"".as_slice()), "{}", plain.err);
    assert!(plain.err.contains("served_by=none reason=absent"), "{}", plain.err);
    let account = get(&server.address(), &["k", "--json"]).await;
    assert_eq!(account.code, Some(1));
    assert_eq!(account.json()["found"], false);
    // The same by the word of the fallback.
    let plain = get(&server.address(), &["k", "--fallback-cmd", "echo ignored; exit 100"]).await;
    assert_eq!((plain.code, plain.out.as_slice()), (Some(1), b"".as_slice()), "{}", plain.err);
}

#[tokio::test]
async fn the_fallback_gives_the_value_which_is_written_back() {
    let server = server().await;
    let command = r#"printf '%s is %s' "$FAILSOFT_KEY" "$FAILSOFT_REASON""#;
    let first = get(&server.address(), &["k", "--fallback-cmd", command]).await;
    assert_eq!((first.code, first.out.as_slice()), (Some(0), b"k is absent".as_slice()), "{}", first.err);
    assert!(first.err.contains("served_by=secondary reason=absent"), "{}", first.err);
    let second = get(&server.address(), &["k", "--fallback-cmd", command]).await;
    assert_eq!((second.code, second.out.as_slice()), (Some(0), b"k is absent".as_slice()), "{}", second.err);
    assert!(second.err.contains("served_by=primary"), "{}", second.err);
}

#[tokio::test]
async fn a_fallback_that_fails_is_an_error_with_its_own_words() {
    let server = server().await;
    let args = ["k", "--fallback-cmd", "echo no database >&2; exit 3"];
    let plain = get(&server.address(), &args).await;
    assert_eq!((plain.code, plain.out.as_slice()), (Some(2), b"".as_slice()));
    assert!(plain.err.contains("no database") && plain.err.contains("exit status: 3"), "{}", plain.err);
    let account = get(&server.address(), &[&args[..], &["--json"]].concat()).await;
    assert_eq!(account.code, Some(2));
    assert_eq!(account.json()["error"]["code"], "FALLBACK");
}

#[tokio::test]
async fn without_a_cluster_the_fallback_serves_and_nothing_is_an_error() {
    let node = ScriptedNode::start().await.unwrap();
    node.refuse_connections(true).await.unwrap();
    let served = get(&node.address(), &["k", "--fallback-cmd", "printf v"]).await;
    assert_eq!((served.code, served.out.as_slice()), (Some(0), b"v".as_slice()), "{}", served.err);
    assert!(served.err.contains("served_by=secondary"), "{}", served.err);
    let account = get(&node.address(), &["k", "--json"]).await;
    assert_eq!(account.code, Some(2));
    assert_eq!(account.json()["error"]["code"], "UNAVAILABLE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_of_the_primary_is_the_reason() {
    let node = ScriptedNode::start().await.unwrap();
    node.on_key("GET", "list", Behaviour::error("WRONGTYPE Operation against a key holding the wrong kind of value"));
    let account = get(&node.address(), &["list", "--json", "--fallback-cmd", "printf v"]).await.json();
    let expected: [(&str, Value); 3] =
        [("value", "v".into()), ("served_by", "secondary".into()), ("reason", "error_reply".into())];
    for (field, value) in expected {
        assert_eq!(account[field], value, "{account}");
    }
}

#[tokio::test]
async fn a_fallback_that_takes_too_long_is_ended_with_all_it_started() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // The end of the pipe is read when nobody is left who could write to it.
    let (ended, end) = mpsc::channel();
    let path = pipe.clone();
    std::thread::spawn(move || ended.send(fs::read(path)));
    let command = r#"exec 3>"$PIPE"; sleep 600 & sleep 600"#;
    let args = ["get", "k", "--node", &server.address(), "--set", "load_timeout_ms=300", "--fallback-cmd", command];
    let mut failsoft = failsoft(&args);
    failsoft.env("PIPE", &pipe);
    let started = Instant::now();
    let done = run(failsoft).await;
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("load_timeout"), "{}", done.err);
    assert!(started.elapsed() < LIMIT, "it waited for the command");
    end.recv_timeout(LIMIT).expect("the command and its children are gone").unwrap();
}
