//! What copies really cost: fills `standin_bytes` with loaded values of several sizes, and prints what is counted
//! (`copies_bytes` of `health`) beside what the process has grown by. Linux alone.
//!
//! Loads take memory, too: each has its value once more while it runs, and for a moment afterwards. So each line is of two
//! processes: one loads one value after the other, with pauses in which what was kept goes, and shows what copies cost; the
//! other one loads many at once.
//!
//! `cargo run --release -p failsoft --example copies` takes two minutes, and no server.

use failsoft::{Bytes, Reason, Router};
use std::error::Error;
use std::time::Duration;
use std::{env, fs, io, process};

type Problem = Box<dyn Error + Send + Sync>;

const ROOM: u32 = 64 * 1024 * 1024;
/// An entry of more than 1 MiB, key and value together, is not kept: the last size is as long as may be.
const SIZES: [usize; 4] = [10, 1024, 100 * 1024, 1024 * 1024 - KEY];
const KEY: usize = 16;
/// About what is counted for an entry beside its key and its value.
const COUNTED: usize = 300;
/// Who loads many at once, so many.
const READERS: usize = 16;
/// Who loads one after the other makes a pause after so many bytes.
const PART: usize = 4 * 1024 * 1024;
/// How long a result is kept for late callers: for twice this.
const DEADLINE: Duration = Duration::from_millis(50);

fn main() -> Result<(), Problem> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [size, readers] = &arguments[..] {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        return runtime.block_on(fill(size.parse()?, readers.parse()?));
    }
    say(
        "| value, bytes | copies | counted, MiB | grown by, MiB | when all were replaced | loaded 16 at once | when all were replaced |",
    );
    say("|---|---|---|---|---|---|---|");
    for size in SIZES {
        let [copies, counted, first, second] = measured(size, 1)?;
        let [_, _, fast_first, fast_second] = measured(size, READERS)?;
        let mib = |bytes: f64| format!("{:.1}", bytes / (1024.0 * 1024.0));
        let grown = [first, second, fast_first, fast_second];
        let grown = grown.map(|bytes| format!("{} ({:+.0}%)", mib(bytes), (bytes / counted - 1.0) * 100.0)).join(" | ");
        say(&format!("| {size} | {copies} | {} | {grown} |", mib(counted)));
    }
    Ok(())
}

/// What a process of its own says, as [`fill`] has it.
fn measured(size: usize, readers: usize) -> Result<[f64; 4], Problem> {
    let output = process::Command::new(env::current_exe()?)
        .args([size.to_string(), readers.to_string()])
        .stderr(process::Stdio::inherit())
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    numbers.try_into().map_err(|_| format!("values of {size} bytes: {}", output.status).into())
}

/// Loads values of this size; says how many copies there are, what they are counted as, and what the process has grown
/// by, when all places are taken and when all were taken anew.
async fn fill(size: usize, readers: usize) -> Result<(), Problem> {
    // Whatever a first router needs once for a process.
    let first = router(0)?;
    load(&first, 0..2_000, 10, readers).await?;
    first.close().await;
    drop(first);
    tokio::time::sleep(DEADLINE * 4).await;
    let before = resident()?;
    let router = router(ROOM)?;
    let some = ROOM as usize / (size + KEY + COUNTED) * 5 / 4;
    let mut grown = Vec::new();
    for round in 0..2 {
        load(&router, round * some..(round + 1) * some, size, readers).await?;
        tokio::time::sleep(DEADLINE * 10).await;
        grown.push(resident()?.saturating_sub(before).to_string());
    }
    let health = router.health();
    say(&format!("{} {} {}", health.copies, health.copies_bytes, grown.join(" ")));
    router.close().await;
    Ok(())
}

/// A router whose cluster is not there: all is loaded.
fn router(room: u32) -> Result<Router, failsoft::Error> {
    Router::builder(["127.0.0.1:1"]).standin_bytes(room).deadline(DEADLINE).attempt_timeout(DEADLINE / 2).build()
}

async fn load(router: &Router, keys: std::ops::Range<usize>, size: usize, readers: usize) -> Result<(), Problem> {
    let reads = (0..readers).map(|reader| {
        let (router, keys) = (router.clone(), keys.clone().skip(reader).step_by(readers));
        tokio::spawn(async move {
            for key in keys {
                let value = move |_: Bytes, _: Reason| async move { Ok::<_, io::Error>(Some(vec![7; size].into())) };
                router.get_with_fallback(format!("{key:0KEY$}"), value).await?;
                if readers == 1 && key % (PART / (size + COUNTED)) == 0 {
                    tokio::time::sleep(DEADLINE * 3).await;
                }
            }
            Ok::<_, failsoft::Error>(())
        })
    });
    for read in reads.collect::<Vec<_>>() {
        read.await??;
    }
    Ok(())
}

/// The bytes of this process that are in memory (proc(5)).
fn resident() -> Result<usize, Problem> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<usize>()? * 1024)
}

#[expect(clippy::print_stdout, reason = "the report is what the program is for")]
fn say(line: &str) {
    println!("{line}");
}
