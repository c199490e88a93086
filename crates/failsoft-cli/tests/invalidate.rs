//! `failsoft invalidate` on a real server, and where none is to be had.
#![allow(clippy::unwrap_used, reason = "a test may end with a panic")]

mod common;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::{Done, done, failsoft};
use failsoft_testkit::{Server, Standalone};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{Seek as _, Write as _},
    process::{Child, ChildStdin, Stdio},
    time::{Duration, Instant},
};

const LIMIT: Duration = Duration::from_secs(20);

async fn server() -> Standalone {
    let server = Server::find(None).expect("a server");
    Standalone::start(&server, &[]).await.expect("it starts")
}

fn invalidate(address: &str, args: &[&str]) -> Done {
    done(&mut failsoft(&[&["invalidate", "--node", address], args].concat()))
}

async fn exists(server: &Standalone, key: &[u8]) -> bool {
    format!("{:?}", server.command(&[b"EXISTS", key]).await.unwrap()) == "int(1)"
}

/// Standard output as JSON objects, but for the time it took.
fn lines(done: &Done) -> Vec<Value> {
    let text = std::str::from_utf8(&done.out).unwrap();
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let took = lines.last_mut().and_then(|sum| sum.as_object_mut()?.remove("took_ms"));
    assert!(took.and_then(|took| took.as_f64()).is_some_and(|took| took > 0.0), "{done:?}");
    lines
}

#[tokio::test]
async fn the_keys_of_the_arguments_are_deleted() {
    let server = server().await;
    for key in ["a", "b", "c"] {
        server.command(&["SET", key, "v"]).await.unwrap();
    }
    let plain = invalidate(&server.address(), &["a", "missing", "a"]);
    assert_eq!((plain.code, plain.out.as_slice()), (Some(0), b"".as_slice()), "{}", plain.err);
    assert!(plain.err.contains("invalidated=2 incomplete=0 took_ms="), "{}", plain.err);
    assert!(!exists(&server, b"a").await && exists(&server, b"b").await);
    let account = invalidate(&server.address(), &["--json", "b"]);
    assert_eq!((account.code, lines(&account)), (Some(0), vec![json!({ "invalidated": 1, "incomplete": 0 })]));
    assert!(!exists(&server, b"b").await && exists(&server, b"c").await);
}

#[tokio::test]
async fn the_lines_of_standard_input_are_keys_byte_for_byte() {
    let server = server().await;
    let keys: [&[u8]; 4] = [b"\xff\x00 ", b"with cr\r", b"k12345", b"last"];
    let others: [&[u8]; 2] = [b"with cr", b"k99999"];
    for key in keys.iter().chain(&others).copied().chain([b"argument".as_slice()]) {
        server.command(&[b"SET", key, b"v"]).await.unwrap();
    }
    let mut input = tempfile::tempfile().unwrap();
    input.write_all(b"\xff\x00 \n\nwith cr\r\n").unwrap();
    for n in 0..25_000 {
        writeln!(input, "k{n}").unwrap();
    }
    input.write_all(b"\nlast").unwrap();
    input.rewind().unwrap();
    let mut command = failsoft(&["invalidate", "argument", "-", "--json", "--node", &server.address()]);
    let told = done(command.stdin(input));
    assert_eq!((told.code, lines(&told)), (Some(0), vec![json!({ "invalidated": 25_004, "incomplete": 0 })]));
    for key in keys {
        assert!(!exists(&server, key).await, "{key:?}");
    }
    for key in others {
        assert!(exists(&server, key).await, "{key:?}");
    }
    assert!(!exists(&server, b"argument").await);
    let nothing = invalidate(&server.address(), &["-", "--json"]);
    assert_eq!((nothing.code, lines(&nothing)), (Some(0), vec![json!({ "invalidated": 0, "incomplete": 0 })]));
}

/// The command with its standard input open, once it has done what was written to it.
async fn at_work(server: &Standalone) -> (Child, ChildStdin) {
    server.command(&["SET", "first", "v"]).await.unwrap();
    let mut command = failsoft(&["invalidate", "-", "--node", &server.address()]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"first\nsec").unwrap();
    let started = Instant::now();
    while exists(server, b"first").await {
        assert!(started.elapsed() < LIMIT, "the first key waits for the second");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (child, input)
}

#[tokio::test]
async fn a_key_that_has_come_does_not_wait_for_the_next() {
    let server = server().await;
    server.command(&["SET", "second", "v"]).await.unwrap();
    let (child, mut input) = at_work(&server).await;
    input.write_all(b"ond\n").unwrap();
    drop(input);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert!(String::from_utf8(ended.stderr).unwrap().contains("invalidated=2 incomplete=0"));
    assert!(!exists(&server, b"second").await);
}

#[tokio::test]
async fn it_can_be_stopped_while_it_waits_for_keys() {
    let server = server().await;
    let (mut child, _input) = at_work(&server).await;
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn what_is_pending_is_told_key_by_key() {
    let args = ["a", "b", "--set", "deadline_ms=100"];
    let plain = invalidate("127.0.0.1:1", &args);
    assert_eq!((plain.code, plain.out.as_slice()), (Some(1), b"".as_slice()), "{}", plain.err);
    for key in ["a", "b"] {
        assert!(plain.err.contains(&format!("pending: {key:?} key=no_view echo=no_view\n")), "{}", plain.err);
    }
    assert!(plain.err.contains("invalidated=0 incomplete=2"), "{}", plain.err);

    let mut input = tempfile::tempfile().unwrap();
    input.write_all(b"\xff\n").unwrap();
    input.rewind().unwrap();
    let told = done(unreachable().stdin(input));
    assert_eq!(told.code, Some(1));
    let lacks = json!({ "key": "no_view", "echo": "no_view" });
    let expected = [
        json!({ "key": "a", "pending": lacks }),
        json!({ "key_base64": STANDARD.encode(b"\xff"), "pending": lacks }),
        json!({ "invalidated": 0, "incomplete": 2 }),
    ];
    assert_eq!(lines(&told), expected);
}

/// A key, then standard input, where no server is.
fn unreachable() -> std::process::Command {
    failsoft(&["invalidate", "a", "-", "--json", "--node", "127.0.0.1:1", "--set", "deadline_ms=100"])
}

#[test]
fn standard_input_that_cannot_be_read_is_an_error() {
    let told = done(unreachable().stdin(File::open("/").unwrap()));
    assert_eq!(told.code, Some(2));
    assert!(told.err.contains("cannot read standard input"), "{}", told.err);
}
