//! One connection to a scripted node: commands are read and judged as they come, answers are written
//! in their order, each in its own time.

use std::{io, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    time::Instant,
};

use super::{
    Behaviour,
    replies::{self, Session},
    request,
    resp::Reply,
    rules, scripts,
    state::Shared,
};

/// Answers that may wait to be written; beyond it no more commands are read.
const QUEUE: usize = 1024;

/// A command that came, and what it meets.
#[derive(Debug)]
pub(super) struct Pending {
    came: Instant,
    behaviour: Behaviour,
    /// The proper answer, for `Behaviour::Normal`.
    normal: Bytes,
    resp3: bool,
}

/// Serves a connection until either side closes it.
pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // Errors of a connection are the client's to notice.
    let _ = stream.set_nodelay(true);
    let (input, output) = stream.into_split();
    let (queue, pending) = mpsc::channel(QUEUE);
    let kicked = shared.clone();
    let read = read(input, shared, queue);
    let write = write(output, pending);
    tokio::pin!(read, write);
    tokio::select! {
        _ = &mut write => {}
        () = kicked.kick.notified() => {}
        // What was asked before the client's end is still answered.
        _ = &mut read => drop(write.await),
    }
}

async fn read(mut input: OwnedReadHalf, shared: Arc<Shared>, queue: mpsc::Sender<Pending>) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(16 * 1024);
    let mut session = Session::default();
    loop {
        while let Some(words) = request::take(&mut buffer).transpose() {
            let (pending, last) = match words {
                Ok(words) => (judge(&shared, &mut session, &queue, &words), rules::is_command(&words, "QUIT")),
                Err(request::Malformed) => (malformed(), true),
            };
            if queue.send(pending).await.is_err() || last {
                return Ok(());
            }
        }
        if input.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

fn judge(shared: &Shared, session: &mut Session, queue: &mpsc::Sender<Pending>, words: &[Bytes]) -> Pending {
    let came = Instant::now();
    let (behaviour, normal) = {
        let mut state = shared.lock();
        let command = scripts::as_command(&state, words);
        let words = command.as_deref().unwrap_or(words);
        state.record(words);
        let behaviour = state.rules.take(words).unwrap_or(Behaviour::Normal);
        // A command that is answered by a script must not have its effect as well.
        let normal = if is_normal(&behaviour) { replies::answer(&mut state, session, words) } else { Bytes::new() };
        if is_normal(&behaviour) && session.resp3 && rules::is_command(words, "CLIENT TRACKING") {
            state.listeners.enter(queue);
        }
        (behaviour, normal)
    };
    shared.news.notify_waiters();
    Pending { came, behaviour, normal, resp3: session.resp3 }
}

impl Pending {
    /// A push that tells these names.
    fn push(names: &[Bytes]) -> Pending {
        let push = Reply::new(true).push(2).bulk("invalidate").array(names.len());
        let push = names.iter().fold(push, |push, name| push.bulk(name));
        Pending { came: Instant::now(), behaviour: Behaviour::Reply(push.finish()), normal: Bytes::new(), resp3: true }
    }
}

/// The connections that are told the bells, whatever prefix they asked for.
#[derive(Debug, Default)]
pub(super) struct Listeners(Vec<mpsc::WeakSender<Pending>>);

impl Listeners {
    fn enter(&mut self, queue: &mpsc::Sender<Pending>) {
        self.0.retain(|listener| listener.strong_count() > 0);
        self.0.push(queue.downgrade());
    }

    /// A connection that reads too slowly is told nothing.
    pub(super) fn tell(&self, name: &Bytes) {
        for listener in self.0.iter().filter_map(mpsc::WeakSender::upgrade) {
            let _ = listener.try_send(Pending::push(std::slice::from_ref(name)));
        }
    }
}

fn malformed() -> Pending {
    let behaviour = Behaviour::error("ERR Protocol error: a command is an array of bulk strings");
    Pending { came: Instant::now(), behaviour, normal: Bytes::new(), resp3: false }
}

fn is_normal(behaviour: &Behaviour) -> bool {
    match behaviour {
        Behaviour::Normal => true,
        Behaviour::Delay(_, inner) => is_normal(inner),
        _ => false,
    }
}

/// Whether a connection goes on.
enum Then {
    GoOn,
    BeSilent,
    Close,
}

async fn write(mut output: OwnedWriteHalf, mut queue: mpsc::Receiver<Pending>) -> io::Result<()> {
    let mut silent = false;
    while let Some(pending) = queue.recv().await {
        if silent {
            continue;
        }
        match perform(&mut output, pending).await? {
            Then::GoOn => {}
            Then::BeSilent => silent = true,
            Then::Close => break,
        }
    }
    Ok(())
}

async fn perform(output: &mut OwnedWriteHalf, pending: Pending) -> io::Result<Then> {
    let Pending { came, mut behaviour, normal, resp3 } = pending;
    let mut delay = Duration::ZERO;
    while let Behaviour::Delay(more, inner) = behaviour {
        delay += more;
        behaviour = *inner;
    }
    tokio::time::sleep_until(came + delay).await;
    let reply = Reply::new(resp3);
    let (bytes, then) = match behaviour {
        Behaviour::Normal => (normal, Then::GoOn),
        Behaviour::Reply(bytes) => (bytes, Then::GoOn),
        Behaviour::Error(text) => (reply.error(&text).finish(), Then::GoOn),
        Behaviour::Value(value) => (reply.bulk(value).finish(), Then::GoOn),
        Behaviour::Nil => (reply.nil().finish(), Then::GoOn),
        Behaviour::Array => (reply.array(2).bulk("an").bulk("array").finish(), Then::GoOn),
        Behaviour::Garbage => (Bytes::from_static(b"\x00\xff\x15 this is no RESP\r\n\r\n"), Then::GoOn),
        Behaviour::HalfReplyThenSilence => (Bytes::from_static(b"$10\r\nhalf "), Then::BeSilent),
        Behaviour::HugeHeader => (Bytes::from_static(b"$536870912\r\n"), Then::BeSilent),
        Behaviour::Silence => (Bytes::new(), Then::BeSilent),
        Behaviour::Close => (Bytes::new(), Then::Close),
        Behaviour::Drip { bytes, every } => {
            for byte in bytes {
                tokio::time::sleep(every).await;
                output.write_all(&[byte]).await?;
            }
            (Bytes::new(), Then::GoOn)
        }
        Behaviour::Delay(..) => unreachable!("delays were unwrapped above"),
    };
    output.write_all(&bytes).await?;
    Ok(then)
}
