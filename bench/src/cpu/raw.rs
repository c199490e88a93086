//! The limit: a blocking socket to one node that writes so many GETs at once and reads their replies.

use crate::{Problem, dataset::Entry};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// One connection, and what to ask on it.
pub(super) struct Raw {
    stream: TcpStream,
    /// A request and the only right reply, for every key of this node.
    exchanges: Vec<(Vec<u8>, Vec<u8>)>,
    next: usize,
    requests: Vec<u8>,
    expected: Vec<u8>,
    replies: Vec<u8>,
}

impl Raw {
    /// Connects, and finds out which keys are this node's.
    pub(super) fn connect(node: &str, entries: &[Entry]) -> Result<Self, Problem> {
        let stream = TcpStream::connect(node)?;
        stream.set_nodelay(true)?;
        let (requests, expected, replies) = (Vec::new(), Vec::new(), Vec::new());
        let mut raw = Self { stream, exchanges: Vec::new(), next: 0, requests, expected, replies };
        let mut found = Vec::new();
        for entry in entries {
            let mut request = format!("*2\r\n$3\r\nGET\r\n${}\r\n", entry.key.len()).into_bytes();
            request.extend_from_slice(&entry.key);
            request.extend_from_slice(b"\r\n");
            let mut reply = format!("${}\r\n", entry.value.len()).into_bytes();
            reply.extend_from_slice(&entry.value);
            reply.extend_from_slice(b"\r\n");
            if raw.has(&request)? {
                found.push((request, reply));
            }
        }
        if found.is_empty() {
            return Err(format!("{node} has none of the keys").into());
        }
        raw.exchanges = found;
        Ok(raw)
    }

    /// How many reads are made in that time, so many to a batch.
    pub(super) fn run(&mut self, batch: usize, duration: Duration) -> Result<u64, Problem> {
        let until = Instant::now() + duration;
        let mut reads = 0;
        while Instant::now() < until {
            self.batch(batch)?;
            reads += batch as u64;
        }
        Ok(reads)
    }

    fn batch(&mut self, size: usize) -> Result<(), Problem> {
        self.requests.clear();
        self.expected.clear();
        for _ in 0..size {
            let (request, reply) = &self.exchanges[self.next];
            self.next = (self.next + 1) % self.exchanges.len();
            self.requests.extend_from_slice(request);
            self.expected.extend_from_slice(reply);
        }
        self.stream.write_all(&self.requests)?;
        self.replies.resize(self.expected.len(), 0);
        self.stream.read_exact(&mut self.replies)?;
        if self.replies == self.expected { Ok(()) } else { Err("raw: a reply was no hit".into()) }
    }

    /// Whether a request gets a value (a key of another node gets MOVED).
    fn has(&mut self, request: &[u8]) -> Result<bool, Problem> {
        self.stream.write_all(request)?;
        let mut reply = Vec::new();
        let mut buffer = [0; 1024];
        while !reply.ends_with(b"\r\n") || (reply.starts_with(b"$1") && reply.len() < 8) {
            match self.stream.read(&mut buffer)? {
                0 => return Err("raw: the server closed the connection".into()),
                n => reply.extend_from_slice(&buffer[..n]),
            }
        }
        Ok(reply.starts_with(b"$1"))
    }
}
