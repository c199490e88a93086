//! Ports of 127.0.0.1 for servers, held for this process until they are given back.

use std::{
    io::{ErrorKind, Result as IoResult},
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

use tokio::{
    net::TcpSocket,
    time::{Instant, sleep},
};

use crate::Error;

/// How long a port that was just closed may still be in use by a process that is being started.
const CLOSING: Duration = Duration::from_secs(5);

/// The cluster bus is that far above the client port; Redis 6.2 cannot be told another distance.
const BUS: u16 = 10_000;
/// The port that is held as a lock, so far above the client port.
const LOCK: u16 = 16_000;
/// Client ports. All three ranges (10000-15999, 20000-25999, 26000-31999) are apart and below 32768, where Linux
/// begins to hand out ports for outgoing connections.
const FIRST: u16 = 10_000;
const COUNT: u16 = 6_000;

/// A client port whose bus port is free, too.
///
/// While it is held no other user of this crate, in any process, gets the same port: the lock is a
/// third port that stays bound, so it is given back even by a process that is killed.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _lock: TcpListener,
}

impl Port {
    /// Takes a free port, beginning at a random one.
    pub(crate) fn reserve() -> Result<Port, Error> {
        let start = fastrand::u16(..COUNT);
        for step in 0..COUNT {
            let number = FIRST + (start + step) % COUNT;
            let Ok(lock) = TcpListener::bind((Ipv4Addr::LOCALHOST, number + LOCK)) else { continue };
            // Both at once, so that one is not taken while the other is tried.
            if let (Ok(_client), Ok(_bus)) = (try_out(number), try_out(number + BUS)) {
                return Ok(Port { number, _lock: lock });
            }
        }
        Err(Error::Config(format!("no free port of 127.0.0.1 between {FIRST} and {}", FIRST + COUNT - 1)))
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// Listens there, also when it was listened to until now: a child process between `fork` and `exec` may keep
    /// the closed socket open for a moment.
    pub(crate) async fn listen(&self) -> Result<tokio::net::TcpListener, Error> {
        let deadline = Instant::now() + CLOSING;
        loop {
            match tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, self.number)).await {
                Err(e) if e.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                    sleep(Duration::from_millis(1)).await;
                }
                other => return other.map_err(Error::io(format!("port {} of 127.0.0.1", self.number))),
            }
        }
    }

    /// Its place among all that may be held: nobody else on this machine has the same.
    pub(crate) fn index(&self) -> u32 {
        u32::from(self.number - FIRST)
    }
}

/// Binds and does not listen: a child process between `fork` and `exec` has a copy of it for a moment, and one that
/// listened would keep the port from whoever it is for.
fn try_out(port: u16) -> IoResult<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, process::Command, thread};

    use super::*;

    #[test]
    fn a_port_is_given_once_while_it_is_held() {
        let held: Vec<_> = (0..200).map(|_| Port::reserve().unwrap()).collect();
        let numbers: BTreeSet<_> = held.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), held.len());
        // Free for the server that is to listen there.
        for number in [held[0].number(), held[0].number() + BUS] {
            TcpListener::bind((Ipv4Addr::LOCALHOST, number)).unwrap();
        }
    }

    #[tokio::test]
    async fn a_port_is_listened_to_again_while_processes_are_started() {
        let starts = thread::spawn(|| {
            for _ in 0..200 {
                Command::new("true").status().unwrap();
            }
        });
        let port = Port::reserve().unwrap();
        while !starts.is_finished() {
            drop(port.listen().await.unwrap());
            TcpListener::bind((Ipv4Addr::LOCALHOST, Port::reserve().unwrap().number())).unwrap();
        }
        starts.join().unwrap();
    }
}
