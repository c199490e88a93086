//! Measures what listeners cost a real server: the question whether it still tells, and telling all of them of a bell.

use crate::measure::{Problem, processor, share};
use failsoft_policy::slot::slot_of;
use failsoft_policy::wire::{BELLS, MARK_SCRIPT, absent_name, bell_name, id, mark_name};
use failsoft_testkit::{Server, Standalone};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How many listen.
pub const LISTENERS: [usize; 2] = [200, 1_000];
/// Bells that are rung before what was told is read: little enough to wait in the sockets.
const BATCH: usize = 50;
/// So many of them are rung together.
const TOGETHER: usize = 25;
/// Batches of one run.
const BATCHES: usize = 8;
/// The same where nobody listens.
const UNHEARD: usize = 200;
/// For how long the question is asked over and over.
const LENGTH: Duration = Duration::from_secs(4);
/// A listener is told by then, or the measurement has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// What so many listeners cost, in microseconds of the server's processor.
#[derive(Clone, Copy, Debug)]
pub struct Listened {
    /// How many listened.
    pub listeners: usize,
    /// Answering the question of one of them, one question at a time.
    pub probe: f64,
    /// Telling one of them of a bell that is rung by itself.
    pub told: f64,
    /// The same, where 25 bells are rung in one turn of the server's loop.
    pub told_together: f64,
    /// Executing the echo of an invalidation itself.
    pub rung: f64,
}

/// Measures it on a server of its own.
///
/// # Errors
/// The server can't be started or asked, or does not tell every listener.
pub async fn measure_listeners(server: &Server) -> Result<Vec<Listened>, Problem> {
    let server = Standalone::start(server, &[]).await?;
    let (address, pid) = (server.address(), server.node().pid().ok_or("the server has no process")?);
    tokio::task::spawn_blocking(move || LISTENERS.into_iter().map(|count| measure(&address, pid, count)).collect())
        .await?
}

fn measure(address: &str, pid: u32, count: usize) -> Result<Listened, Problem> {
    let mut writer = connect(address)?;
    ask(&mut writer, &[b"SCRIPT", b"LOAD", MARK_SCRIPT.text.as_bytes()])?;
    let idle = share(pid)?;
    let rung = ring(&mut writer, &mut [], (pid, idle), (UNHEARD, 1))?;
    let rung_together = ring(&mut writer, &mut [], (pid, idle), (UNHEARD, TOGETHER))?;
    let mut listeners = Vec::with_capacity(count);
    for _ in 0..count {
        let mut listener = connect(address)?;
        ask(&mut listener, &[b"HELLO", b"3"])?;
        ask(&mut listener, &[b"CLIENT", b"TRACKING", b"ON", b"BCAST", b"PREFIX", BELLS.as_bytes()])?;
        listeners.push(listener);
    }
    let idle = share(pid)?;
    let probe = probe(&mut listeners, (pid, idle))?;
    let told = ring(&mut writer, &mut listeners, (pid, idle), (BATCHES, 1))? - rung;
    let told_together = ring(&mut writer, &mut listeners, (pid, idle), (BATCHES, TOGETHER))? - rung_together;
    let of_one = |all: f64| all / count as f64;
    Ok(Listened { listeners: count, probe, told: of_one(told), told_together: of_one(told_together), rung })
}

/// Rings a bell over and over, so many together; gives what one takes.
fn ring(
    writer: &mut TcpStream,
    listeners: &mut [TcpStream],
    (pid, idle): (u32, f64),
    (batches, together): (usize, usize),
) -> Result<f64, Problem> {
    let key = b"user:42";
    let slot = slot_of(key);
    let (began, before) = (Instant::now(), processor(pid)?);
    for batch in 0..batches {
        for bell in (0..BATCH).step_by(together) {
            let mut all = Vec::new();
            for bell in bell..bell + together {
                let id = id((batch * BATCH + bell) as u64);
                let (mark, bell) = (mark_name(slot, key), bell_name(slot, &id, key));
                let sha = MARK_SCRIPT.sha.as_bytes();
                all.extend(command(&[b"EVALSHA", sha, b"2", &mark, &bell, &id, b"7", b"60000"]));
            }
            writer.write_all(&all)?;
            read(writer, b":1\r\n", together)?;
        }
        for listener in &mut *listeners {
            read(listener, BELLS.as_bytes(), BATCH)?;
        }
    }
    let used = processor(pid)? - before - idle * began.elapsed().as_secs_f64();
    Ok(used * 1e6 / (batches * BATCH) as f64)
}

/// Each listener asks in its turn whether the server still tells.
fn probe(listeners: &mut [TcpStream], (pid, idle): (u32, f64)) -> Result<f64, Problem> {
    let question = command(&[b"EXISTS", &absent_name(slot_of(b"user:42"))]);
    let (began, before, mut times) = (Instant::now(), processor(pid)?, 0_u32);
    while began.elapsed() < LENGTH {
        for listener in &mut *listeners {
            listener.write_all(&question)?;
            read(listener, b":0\r\n", 1)?;
            times += 1;
        }
    }
    let used = processor(pid)? - before - idle * began.elapsed().as_secs_f64();
    Ok(used * 1e6 / f64::from(times))
}

fn connect(address: &str) -> Result<TcpStream, Problem> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A command whose answer comes in one piece.
fn ask(stream: &mut TcpStream, words: &[&[u8]]) -> Result<(), Problem> {
    stream.write_all(&command(words))?;
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer)?;
    match answer[..length].first() {
        Some(b'-') | None => Err(String::from_utf8_lossy(&answer[..length]).into()),
        Some(_) => Ok(()),
    }
}

/// Reads until these bytes have come so many times.
fn read(stream: &mut TcpStream, what: &[u8], times: usize) -> Result<(), Problem> {
    let (mut came, mut part) = (Vec::new(), [0; 16 * 1024]);
    while came.windows(what.len()).filter(|bytes| *bytes == what).count() < times {
        let length = stream.read(&mut part)?;
        if length == 0 {
            return Err("the server closed a connection".into());
        }
        came.extend_from_slice(&part[..length]);
    }
    Ok(())
}

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut command = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        command.extend(format!("${}\r\n", word.len()).into_bytes());
        command.extend_from_slice(word);
        command.extend_from_slice(b"\r\n");
    }
    command
}
