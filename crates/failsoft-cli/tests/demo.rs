//! `failsoft demo` on a real cluster: its account, and that nothing stays behind.
#![allow(clippy::unwrap_used, reason = "a test may end with a panic")]

mod common;

use common::failsoft;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Read},
    net::TcpStream,
    process::{Child, Stdio},
    sync::{
        Mutex,
        mpsc::{self, Receiver},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// One demo at a time: the load of another one is a fault, too.
static ALONE: Mutex<()> = Mutex::new(());
/// What the demo allows itself, for its shortest run.
const LIMIT: Duration = Duration::from_secs(15 * 2 + 60);

/// A demo under way, with a folder of its own for all that it writes.
struct Demo {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
    folder: TempDir,
}

impl Demo {
    fn start(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = failsoft(&[&["demo", "--seconds", "15"], args].concat());
        command.env("TMPDIR", folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (out, err) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
        Self { child, out, err, folder }
    }

    /// The addresses of the cluster, from the line that tells them.
    fn addresses(from: &Receiver<String>) -> Vec<String> {
        let line = wait_for(from, |line| line.starts_with("up: "));
        line.split_whitespace().skip(1).map(str::to_owned).collect()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end, after which nothing may be left of it.
    fn end(mut self) -> Option<i32> {
        let deadline = Instant::now() + LIMIT;
        let code = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status.code();
            }
            assert!(Instant::now() < deadline, "the demo does not end");
            std::thread::sleep(Duration::from_millis(20));
        };
        let left: Vec<_> = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        code
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // A test that failed; the demo's own watchdog ends its servers.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Each line as it comes.
fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || BufReader::new(from).lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
    receive
}

fn wait_for(from: &Receiver<String>, is_it: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + LIMIT;
    loop {
        let line = from.recv_timeout(deadline.saturating_duration_since(Instant::now())).expect("the line in time");
        if is_it(&line) {
            return line;
        }
    }
}

fn assert_gone(addresses: &[String]) {
    assert_eq!(addresses.len(), 6);
    for address in addresses {
        assert!(TcpStream::connect(address).is_err(), "{address} still listens");
    }
}

fn fields(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

fn count(object: &Value, field: &str) -> u64 {
    object[field].as_u64().unwrap_or_else(|| panic!("{field} in {object}"))
}

#[test]
fn no_read_fails_and_the_cluster_is_kept() {
    let _alone = ALONE.lock();
    let demo = Demo::start(&["--json", "--keep"]);
    let addresses = Demo::addresses(&demo.err);
    // The first line of standard output is the object, and the cluster is up after it.
    let report: Value = serde_json::from_str(&wait_for(&demo.out, |_| true)).unwrap();
    let kept = wait_for(&demo.err, |line| line.contains("stays up"));
    for address in &addresses {
        assert!(kept.contains(address) && TcpStream::connect(address).is_ok(), "{address}: {kept}");
    }
    demo.signal(Signal::INT);
    let more = demo.out.recv_timeout(LIMIT);
    assert_eq!(demo.end(), Some(0), "{report}");
    assert_gone(&addresses);
    assert!(more.is_err(), "nothing follows the object: {more:?}");
    assert_account(&report);
}

fn assert_account(report: &Value) {
    let of_each = ["reads", "failed", "worst_ms", "p99_ms", "served_by"];
    let of_all = ["loads", "loads_per_key_max", "phases", "server", "version"];
    assert_eq!(fields(report), of_each.into_iter().chain(of_all).collect());
    assert_eq!(count(report, "failed"), 0, "{report}");
    assert_eq!(fields(&report["served_by"]), ["near", "none", "primary", "replica", "secondary", "stale"].into());
    for source in ["primary", "secondary"] {
        assert!(count(&report["served_by"], source) > 0, "{source}: {report}");
    }
    assert_eq!(count(report, "loads_per_key_max"), 1, "one load for each herd: {report}");
    assert!(count(report, "loads") > 2_000, "each of the keys that were missing was loaded: {report}");
    let phases = report["phases"].as_array().unwrap();
    let names: Vec<_> = phases.iter().map(|phase| phase["name"].as_str().unwrap()).collect();
    let expected = [
        "warm up",
        "steady",
        "slot moved",
        "primary killed",
        "recovered",
        "primary hung",
        "continued",
        "herd",
        "cluster cut off",
        "back",
    ];
    assert_eq!(names, expected);
    for phase in phases {
        assert_eq!(fields(phase), ["name"].into_iter().chain(of_each).collect());
        assert!(count(phase, "reads") > 0, "{phase}");
    }
    let sum: u64 = phases.iter().map(|phase| count(phase, "reads")).sum();
    assert_eq!(sum, count(report, "reads"));
    let served: u64 = report["served_by"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(served, sum, "each read was served by one source");
    let by = |name: &str, source: &str| {
        let phase = phases.iter().find(|phase| phase["name"] == name).unwrap();
        count(&phase["served_by"], source)
    };
    assert_eq!(by("slot moved", "secondary"), 0, "no read goes to the store because a slot moves: {report}");
    // Keys that are read often have copies, which stand in for a replica that is known to be older.
    let stood_in = |name| by(name, "replica") + by(name, "stale");
    assert!(stood_in("primary killed") > 0 && stood_in("primary hung") > 0, "{report}");
    assert!(by("cluster cut off", "secondary") > 1_000 && by("back", "primary") > 0, "{report}");
}

#[test]
fn signals_stop_all_it_started() {
    let _alone = ALONE.lock();
    let demo = Demo::start(&[]);
    let addresses = Demo::addresses(&demo.out);
    wait_for(&demo.out, |line| line.contains("primary killed"));
    demo.signal(Signal::INT);
    assert_eq!(demo.end(), Some(130));
    assert_gone(&addresses);

    let demo = Demo::start(&[]);
    // While the cluster is being put together.
    wait_for(&demo.out, |line| line.starts_with("starting"));
    demo.signal(Signal::TERM);
    assert_eq!(demo.end(), Some(143));
}
