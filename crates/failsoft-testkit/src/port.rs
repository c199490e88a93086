//! Ports of 127.0.0.1 for servers, held for this process until they are given back.

use std::net::{Ipv4Addr, TcpListener};

use crate::Error;

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
            let Ok(lock) = bind(number + LOCK) else { continue };
            // Both at once, so that one is not taken while the other is tried.
            if let (Ok(_client), Ok(_bus)) = (bind(number), bind(number + BUS)) {
                return Ok(Port { number, _lock: lock });
            }
        }
        Err(Error::Config(format!("no free port of 127.0.0.1 between {FIRST} and {}", FIRST + COUNT - 1)))
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// Its place among all that may be held: nobody else on this machine has the same.
    pub(crate) fn index(&self) -> u32 {
        u32::from(self.number - FIRST)
    }
}

fn bind(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_port_is_given_once_while_it_is_held() {
        let held: Vec<_> = (0..200).map(|_| Port::reserve().unwrap()).collect();
        let numbers: BTreeSet<_> = held.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), held.len());
        // Free for the server that is to listen there.
        bind(held[0].number()).unwrap();
        bind(held[0].number() + BUS).unwrap();
    }
}
