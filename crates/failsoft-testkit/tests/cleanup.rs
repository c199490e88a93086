//! Nothing is left behind, whatever ends the process that started it.

#![allow(clippy::unwrap_used, reason = "a test may end with a panic")]

mod common;

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use common::{LONG, server, small};
use failsoft_testkit::Cluster;

/// Printed by the process that is to be killed, before the ids and the folder.
const MARK: &str = "servers:";
/// Set for the process that is to be killed.
const TO_BE_KILLED: &str = "FAILSOFT_TESTKIT_TO_BE_KILLED";

#[tokio::test]
async fn dropping_a_cluster_ends_its_servers() {
    let cluster = small().await;
    cluster.hang(2).unwrap();
    let folder = folder_of(&cluster, 0);
    let pids: Vec<_> = cluster.nodes().iter().map(|node| node.pid().unwrap()).collect();
    assert!(pids.iter().all(|&pid| exists(pid)) && Path::new(&folder).exists());
    drop(cluster);
    assert!(!pids.into_iter().any(exists));
    assert!(!Path::new(&folder).exists());
}

#[test]
fn killing_the_process_ends_its_servers() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "starts_a_cluster_and_waits", "--nocapture"])
        .env(TO_BE_KILLED, "yes")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.map(Result::unwrap).find_map(|line| Some(line.split_once(MARK)?.1.to_owned())).unwrap();
    let (pids, folder) = line.rsplit_once(' ').unwrap();
    let pids: Vec<u32> = pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 3);
    assert!(pids.iter().all(|&pid| exists(pid)) && Path::new(folder).exists());

    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + LONG;
    while pids.iter().any(|&pid| exists(pid)) || Path::new(folder).exists() {
        assert!(Instant::now() < deadline, "still there: {line}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The process that the test above starts and kills; in any other it has nothing to do.
#[tokio::test]
#[expect(clippy::print_stdout, reason = "its parent reads it")]
async fn starts_a_cluster_and_waits() {
    if std::env::var_os(TO_BE_KILLED).is_none() {
        return;
    }
    let cluster = Cluster::builder().server(&server()).primaries(3).replicas(0).start().await.unwrap();
    cluster.hang(1).unwrap();
    let pids: Vec<_> = cluster.nodes().iter().map(|node| node.pid().unwrap().to_string()).collect();
    println!("{MARK}{} {}", pids.join(" "), folder_of(&cluster, 0));
    // Bounded, should nobody kill it.
    tokio::time::sleep(LONG).await;
}

#[tokio::test]
async fn a_kept_cluster_goes_on() {
    let cluster = Cluster::builder().server(&server()).primaries(1).replicas(0).start().await.unwrap();
    let kept = cluster.keep().unwrap();
    let mut client = common::Raw::connect(&kept.addresses[0]).await;
    client.ask("PING", "+PONG\r\n").await;
    client.send("SHUTDOWN NOSAVE").await;
    client.expect_closed().await;
    assert_eq!(kept.pids.len(), 1);
    std::fs::remove_dir_all(&kept.folder).unwrap();
}

/// The folder that holds all of a cluster's folders.
fn folder_of(cluster: &Cluster, index: usize) -> String {
    let pid = cluster.node(index).pid().unwrap();
    let folder = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    folder.parent().unwrap().to_str().unwrap().to_owned()
}

/// Whether a process is there and is no zombie (an orphan may wait for its new parent to reap it).
fn exists(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}
