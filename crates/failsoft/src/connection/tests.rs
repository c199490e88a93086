//! Lanes against a scripted server: every way a reply can come, come late, or not come.

mod blame;
mod decoding;
mod faults;
mod handshakes;
mod requests;
mod tls;

use super::*;
use crate::clock::Clock;
use failsoft_policy::Endpoint;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

/// Long enough never to matter, short enough to end a test that hangs.
const LONG: Duration = Duration::from_secs(20);
const HELLO_OK: &[u8] = b"%1\r\n$5\r\nproto\r\n:3\r\n";

fn config(port: u16) -> LaneConfig {
    LaneConfig {
        endpoint: Endpoint { host: "127.0.0.1".to_owned(), port },
        node_id: None,
        readonly: false,
        connect_timeout: LONG,
        attempt_timeout: LONG,
        max_in_flight: 100,
        username: None,
        password: None,
        client_name: None,
        tls: None,
        report: None,
        pushes: None,
    }
}

/// A listener, and a lane to it whose settings `change` may change.
async fn lane(change: impl FnOnce(&mut LaneConfig)) -> (TcpListener, Arc<Lane>, Clock) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(listener.local_addr().unwrap().port());
    change(&mut config);
    let clock = Clock::new();
    let lane = Lane::open(Arc::new(config), clock, &Handle::current());
    (listener, lane, clock)
}

/// A lane that is past its handshake, and the server's side of it.
async fn open_lane(change: impl FnOnce(&mut LaneConfig)) -> (TcpStream, Arc<Lane>, Clock) {
    let (listener, lane, clock) = lane(change).await;
    let (mut server, _) = listener.accept().await.unwrap();
    expect(&mut server, b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n").await;
    server.write_all(HELLO_OK).await.unwrap();
    until(|| lane.state() == Phase::Open).await;
    (server, lane, clock)
}

async fn expect(server: &mut TcpStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    tokio::time::timeout(LONG, server.read_exact(&mut got)).await.expect("the bytes come").unwrap();
    assert_eq!(got.escape_ascii().to_string(), bytes.escape_ascii().to_string());
}

async fn until(mut condition: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + LONG;
    while !condition() {
        assert!(tokio::time::Instant::now() < end, "the condition never came true");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn far(clock: &Clock) -> Attempt {
    within(clock, LONG)
}

/// An attempt that ends after this time, whatever happens.
fn within(clock: &Clock, time: Duration) -> Attempt {
    Attempt::until(clock.now() + time)
}

fn value(text: &str) -> Result<Reply, Failure> {
    Ok(Reply::Value(bytes::Bytes::copy_from_slice(text.as_bytes())))
}

fn get(key: &str) -> Vec<u8> {
    format!("*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len()).into_bytes()
}
