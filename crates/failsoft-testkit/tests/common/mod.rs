//! What the tests share: a server, and a client that sees the bytes.
#![allow(dead_code, reason = "each test file uses its part")]

use std::time::Duration;

use failsoft_testkit::{Cluster, Server};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) fn server() -> Server {
    Server::find(None).expect("these tests need a server")
}

/// A small cluster that notices a dead node soon.
pub(crate) async fn small() -> Cluster {
    let builder = Cluster::builder().server(&server()).primaries(3).replicas(1);
    builder.node_timeout(Duration::from_secs(1)).start().await.expect("a cluster")
}

/// A connection on which commands are text and answers are bytes.
pub(crate) struct Raw(TcpStream);

impl Raw {
    pub(crate) async fn connect(address: &str) -> Raw {
        Raw(TcpStream::connect(address).await.expect("connects"))
    }

    pub(crate) async fn send(&mut self, command: &str) {
        let words: Vec<_> = command.split(' ').collect();
        let mut wire = format!("*{}\r\n", words.len());
        for word in words {
            wire.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.write(wire.as_bytes()).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("writes");
    }

    /// Exactly as many bytes as the expected answer has.
    pub(crate) async fn expect(&mut self, expected: &str) {
        let mut got = vec![0; expected.len()];
        let read = tokio::time::timeout(LONG, self.0.read_exact(&mut got)).await;
        read.expect("an answer in time").expect("a whole answer");
        assert_eq!(String::from_utf8_lossy(&got), expected);
    }

    pub(crate) async fn ask(&mut self, command: &str, expected: &str) {
        self.send(command).await;
        self.expect(expected).await;
    }

    /// One line of an answer.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let byte = tokio::time::timeout(LONG, self.0.read_u8()).await;
            line.push(byte.expect("an answer in time").expect("a whole answer"));
        }
        String::from_utf8(line).expect("text").trim_end().to_owned()
    }

    pub(crate) async fn expect_closed(&mut self) {
        let read = tokio::time::timeout(LONG, self.0.read(&mut [0; 64])).await.expect("closed in time");
        // A connection closed with something unread is reset.
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }

    /// Whether there is something to read already.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(50), self.0.read_u8()).await.is_err()
    }
}
