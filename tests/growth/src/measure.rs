//! Measures what the questions cost a real server. It believes in a cluster of any size, because its
//! `nodes.conf` says so; the other nodes do not exist.

use crate::cost::{Cost, Question};
use failsoft_policy::Slot;
use failsoft_testkit::{Server, Standalone};
use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

/// Whatever kept a measurement from being made; it goes to the user as it is.
pub type Problem = Box<dyn std::error::Error + Send + Sync>;

/// How long each question is asked over and over.
const LENGTH: Duration = Duration::from_secs(4);

/// What each question costs a server of a cluster of so many primaries, each with one replica.
///
/// # Errors
/// The server can't be started or asked.
pub async fn measure(server: &Server, primaries: usize) -> Result<Vec<(Question, Cost)>, Problem> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("nodes.conf");
    fs::write(&file, config(primaries, server.at_least(7, 2))?)?;
    let named = file.to_string_lossy();
    // A long node timeout: it is not to be busy with those who do not answer.
    let settings = [("cluster-enabled", "yes"), ("cluster-config-file", &*named), ("cluster-node-timeout", "600000")];
    let server = Standalone::start(server, &settings).await?;
    let (address, pid) = (server.address(), server.node().pid().ok_or("the server has no process")?);
    let asked = tokio::task::spawn_blocking(move || ask(&address, pid)).await??;
    Ok(asked)
}

fn ask(address: &str, pid: u32) -> Result<Vec<(Question, Cost)>, Problem> {
    let mut connection = redis::Client::open(format!("redis://{address}"))?.get_connection()?;
    let mut costs = Vec::new();
    for question in Question::ALL {
        let idle = share(pid)?;
        let mut pipeline = redis::pipe();
        for words in question.commands() {
            let mut command = redis::Cmd::new();
            words.iter().for_each(|word| {
                command.arg(*word);
            });
            pipeline.add_command(command);
        }
        let packed = pipeline.get_packed_pipeline();
        let (began, before, mut times) = (Instant::now(), processor(pid)?, 0_u32);
        let mut bytes = 0;
        while began.elapsed() < LENGTH {
            use redis::ConnectionLike;
            let answers = connection.req_packed_commands(&packed, 0, question.commands().len())?;
            bytes = answers.iter().map(length).sum();
            times += 1;
        }
        let used = processor(pid)? - before - idle * began.elapsed().as_secs_f64();
        costs.push((question, Cost { micros: used * 1e6 / f64::from(times), bytes: bytes as f64 }));
    }
    Ok(costs)
}

/// The share of a core that a server takes when nobody asks it anything.
pub(crate) fn share(pid: u32) -> Result<f64, Problem> {
    let (began, before) = (Instant::now(), processor(pid)?);
    std::thread::sleep(LENGTH / 2);
    Ok((processor(pid)? - before) / began.elapsed().as_secs_f64())
}

/// Seconds of processor time that a process has used, in user mode and in the kernel (proc(5)).
pub(crate) fn processor(pid: u32) -> Result<f64, Problem> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).ok_or("an unknown /proc/PID/stat");
    Ok((ticks(11)? + ticks(12)?) / rustix::param::clock_ticks_per_second() as f64)
}

/// The bytes of a reply, without its framing.
fn length(value: &redis::Value) -> usize {
    match value {
        redis::Value::BulkString(bytes) => bytes.len(),
        redis::Value::Array(items) => items.iter().map(length).sum(),
        redis::Value::Map(pairs) => pairs.iter().map(|(k, v)| length(k) + length(v)).sum(),
        redis::Value::SimpleString(text) => text.len(),
        _ => 8,
    }
}

/// A `nodes.conf` in which this node is the first of many. The others have no address, as it says, so that the
/// server is not busy with reaching them. Servers from 7.2 on want to know who is in which shard.
fn config(primaries: usize, shards: bool) -> Result<String, Problem> {
    let mut text = String::new();
    let first = |p: usize| p * usize::from(Slot::COUNT) / primaries;
    let address = |node: usize, shard: usize| {
        let host = format!("10.0.{}.{}:6379@16379", node / 256, node % 256);
        if shards { format!("{host},,tls-port=0,shard-id={shard:040x}") } else { host }
    };
    for p in 0..primaries {
        let (flags, epoch) = (if p == 0 { "myself,master" } else { "master,noaddr" }, p + 1);
        let (from, to) = (first(p), first(p + 1) - 1);
        writeln!(text, "{p:040x} {} {flags} - 0 0 {epoch} connected {from}-{to}", address(p, p))?;
        let replica = primaries + p;
        writeln!(text, "{replica:040x} {} slave,noaddr {p:040x} 0 0 {epoch} connected", address(replica, p))?;
    }
    writeln!(text, "vars currentEpoch {primaries} lastVoteEpoch 0")?;
    Ok(text)
}
