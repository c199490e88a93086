//! The byte stream under a lane: TCP, or TLS over it, with the socket options that let a dead peer be noticed.

use super::tls::TlsSetup;
use crate::dns;
use failsoft_policy::Endpoint;
use failsoft_policy::connection::Failure;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

/// An idle connection is asked after this time whether its peer is still there, then again at each interval.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
#[cfg(not(windows))]
const KEEPALIVE_RETRIES: u32 = 3;
/// Bytes (or keepalive probes) the peer has not acknowledged for this long end the connection.
#[cfg(any(target_os = "linux", target_os = "android"))]
const USER_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Connects to the first of the endpoint's addresses that takes the connection, within the time left until `until`.
pub(super) async fn connect(endpoint: &Endpoint, tls: Option<&TlsSetup>, until: Instant) -> Result<Stream, Failure> {
    let addresses = dns::addresses(&endpoint.host, endpoint.port).await;
    let addresses = addresses.map_err(|e| failed(format!("{endpoint}: {e}")))?;
    let tcp = first_of(&addresses, endpoint, until).await?;
    set_options(&tcp).map_err(|e| failed(format!("{endpoint}: socket options: {e}")))?;
    let Some(tls) = tls else { return Ok(Stream::Plain(tcp)) };
    let stream = tls.connect(&endpoint.host, tcp).await;
    stream.map(|s| Stream::Tls(Box::new(s))).map_err(|e| failed(format!("{endpoint}: TLS: {e}")))
}

/// Each address gets a fair share of the time, so that one that never answers leaves some for the next.
async fn first_of(addresses: &[SocketAddr], endpoint: &Endpoint, until: Instant) -> Result<TcpStream, Failure> {
    let mut last = format!("{endpoint}: the name has no address");
    for (i, address) in addresses.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - i).unwrap_or(u32::MAX);
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(e)) => last = format!("{endpoint} ({address}): {e}"),
            Err(_) => last = format!("{endpoint} ({address}): no answer within {} ms", share.as_millis()),
        }
    }
    Err(failed(last))
}

fn failed(why: String) -> Failure {
    Failure::Connect(why.into())
}

/// How an idle connection finds out that its peer is gone; it also keeps what lies between from forgetting it.
pub(crate) fn keepalive() -> TcpKeepalive {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL);
    #[cfg(not(windows))]
    let keepalive = keepalive.with_retries(KEEPALIVE_RETRIES);
    keepalive
}

fn set_options(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    socket.set_tcp_keepalive(&keepalive())?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(())
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_flush(cx),
            Self::Tls(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Self::Tls(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// A listener and its address; without the listener, an address that refuses.
    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn an_address_that_refuses_leaves_the_next_its_turn() {
        let ((_listening, good), (refusing, bad), (_more, third)) =
            (listener().await, listener().await, listener().await);
        drop(refusing);
        let endpoint = Endpoint { host: "a-name".to_owned(), port: 1 };
        let until = Instant::now() + Duration::from_secs(20);
        let tcp = first_of(&[bad, good, third], &endpoint, until).await.unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), good);
        let Failure::Connect(why) = first_of(&[bad], &endpoint, until).await.unwrap_err() else { panic!() };
        assert!(why.contains("a-name:1") && why.contains(&bad.to_string()), "{why}");
        let Failure::Connect(why) = first_of(&[], &endpoint, until).await.unwrap_err() else { panic!() };
        assert!(why.contains("no address"), "{why}");
    }

    #[tokio::test]
    async fn a_name_is_resolved_and_the_options_are_set() {
        let (_listening, address) = listener().await;
        let endpoint = Endpoint { host: "localhost".to_owned(), port: address.port() };
        let until = Instant::now() + Duration::from_secs(20);
        let Stream::Plain(tcp) = connect(&endpoint, None, until).await.unwrap() else { panic!("no TLS was asked for") };
        assert!(tcp.nodelay().unwrap());
        assert!(SockRef::from(&tcp).keepalive().unwrap());
        #[cfg(any(target_os = "linux", target_os = "android"))]
        assert_eq!(SockRef::from(&tcp).tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
    }
}
