//! A TCP proxy that delivers late: the delay of a long way, in each direction.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::Error;

/// Pieces under way in one direction of one connection; more are read when these have arrived.
const UNDER_WAY: usize = 256;
/// The most that one read takes.
const PIECE: usize = 16 * 1024;
/// Connections at once; more wait until one of them ends.
const CONNECTIONS: usize = 1024;

/// Listens on 127.0.0.1 and passes on what comes, both ways, each byte as late as it was told. Connecting is not
/// delayed. Dropping it closes all its connections.
///
/// Nodes announce their own addresses: a router has to be told to come here instead (`address_map`).
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    delays: Arc<Delays>,
    _connections: JoinSet<()>,
}

/// Microseconds.
#[derive(Debug, Default)]
struct Delays {
    there: AtomicU64,
    back: AtomicU64,
}

impl Proxy {
    /// Starts one, without a delay, on the runtime of the caller.
    pub async fn start(target: &str) -> Result<Proxy, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(Error::io("a port for a proxy"))?;
        let address = listener.local_addr().map_err(Error::io("the address of a proxy"))?;
        let delays = Arc::new(Delays::default());
        let mut connections = JoinSet::new();
        connections.spawn(accept(listener, target.to_owned(), Arc::clone(&delays)));
        Ok(Proxy { address, delays, _connections: connections })
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// How late what is sent from now on arrives: from clients at the target, and from the target at clients.
    pub fn delay(&self, there: Duration, back: Duration) {
        for (delay, new) in [(&self.delays.there, there), (&self.delays.back, back)] {
            delay.store(u64::try_from(new.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }
}

async fn accept(listener: TcpListener, target: String, delays: Arc<Delays>) {
    // They end with this task.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((client, _)) => drop(connections.spawn(pass(client, target.clone(), Arc::clone(&delays)))),
            // Too many open files, mostly: that passes, or it does not.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Both ways of one connection, until either end closes it.
async fn pass(client: TcpStream, target: String, delays: Arc<Delays>) {
    let Ok(server) = TcpStream::connect(&target).await else { return };
    if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = one_way(from_client, to_server, &delays.there) => {}
        () = one_way(from_server, to_client, &delays.back) => {}
    }
}

async fn one_way(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, delay: &AtomicU64) {
    let (pieces, mut due) = mpsc::channel::<(Instant, BytesMut)>(UNDER_WAY);
    let take = async move {
        loop {
            let mut piece = BytesMut::with_capacity(PIECE);
            match from.read_buf(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let at = Instant::now() + Duration::from_micros(delay.load(Ordering::Relaxed));
            if pieces.send((at, piece)).await.is_err() {
                return;
            }
        }
    };
    let deliver = async {
        // In their order, so none overtakes another when the delay gets shorter.
        while let Some((at, piece)) = due.recv().await {
            sleep_until(at).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    // The end of the input is delivered after what came before it.
    tokio::join!(take, deliver);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_sent_arrives_late_and_in_order() {
        let target = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Proxy::start(&target.local_addr().unwrap().to_string()).await.unwrap();
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        let (mut server, _) = target.accept().await.unwrap();

        let late = Duration::from_millis(100);
        proxy.delay(late, Duration::ZERO);
        let began = Instant::now();
        client.write_all(b"a").await.unwrap();
        let mut byte = [0];
        server.read_exact(&mut byte).await.unwrap();
        assert!(began.elapsed() >= late && byte == *b"a");

        proxy.delay(Duration::from_secs(3600), Duration::ZERO);
        client.write_all(b"never").await.unwrap();
        server.write_all(b"b").await.unwrap();
        client.read_exact(&mut byte).await.unwrap();
        assert_eq!(byte, *b"b");
        drop(proxy);
        assert!(client.read_exact(&mut byte).await.is_err());
        assert!(server.read_exact(&mut byte).await.is_err());
    }
}
