//! TLS: a certificate that is trusted, one that is not, one that nobody checks, and settings that are none.

use super::*;
use crate::connection::tls::TlsError;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A TLS server that shakes hands, answers one GET with `v` and ends; its certificate as PEM.
/// With `clients`, it asks for a certificate and trusts this one.
async fn server(clients: Option<CertificateDer<'static>>) -> (u16, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = match clients {
        Some(trusted) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(trusted).unwrap();
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap()
        }
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let Ok(mut tls) = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(tcp).await else { return };
        let mut hello = [0; 22];
        if tls.read_exact(&mut hello).await.is_err() {
            return;
        }
        tls.write_all(HELLO_OK).await.unwrap();
        let mut request = vec![0; get("k").len()];
        tls.read_exact(&mut request).await.unwrap();
        tls.write_all(b"$1\r\nv\r\n").await.unwrap();
        tls.flush().await.unwrap();
        let _closed = tls.read(&mut request).await;
    });
    (port, made.cert.pem().into_bytes())
}

async fn read_over(port: u16, pem: TlsPem) -> Result<Reply, Failure> {
    let mut config = config(port);
    config.tls = Some(Arc::new(TlsSetup::new(pem).unwrap()));
    let clock = Clock::new();
    let lane = Lane::open(Arc::new(config), clock, &Handle::current());
    lane.get(b"k", false, far(&clock)).unwrap().await
}

#[tokio::test]
async fn a_trusted_certificate_for_the_right_name() {
    let (port, roots) = server(None).await;
    let pem = TlsPem { roots: Some(roots), server_name: Some("localhost".to_owned()), ..TlsPem::default() };
    assert_eq!(read_over(port, pem).await, value("v"));
}

#[tokio::test]
async fn a_wrong_name_or_an_unknown_authority_is_no_connection() {
    let (port, roots) = server(None).await;
    let wrong_name = TlsPem { roots: Some(roots), ..TlsPem::default() };
    assert!(matches!(read_over(port, wrong_name).await, Err(Failure::Connect(_))));
    let (port, _) = server(None).await;
    let unknown = TlsPem { server_name: Some("localhost".to_owned()), ..TlsPem::default() };
    assert!(matches!(read_over(port, unknown).await, Err(Failure::Connect(_))));
}

#[tokio::test]
async fn certificates_are_not_checked_only_where_that_was_asked_for() {
    let (port, _) = server(None).await;
    assert_eq!(read_over(port, TlsPem { danger_accept_invalid_certs: true, ..TlsPem::default() }).await, value("v"));
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_takes_ours_and_no_other() {
    let ours = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
    for (shown, accepted) in [(Some(&ours), true), (Some(&other), false), (None, false)] {
        let (port, roots) = server(Some(ours.cert.der().clone())).await;
        let client = shown.map(|c| (c.cert.pem().into_bytes(), c.signing_key.serialize_pem().into_bytes()));
        let pem = TlsPem { roots: Some(roots), client, server_name: Some("localhost".into()), ..TlsPem::default() };
        let read = read_over(port, pem).await;
        if accepted {
            assert_eq!(read, value("v"));
        } else {
            // With TLS 1.3 a client hears of it after its side of the handshake.
            assert!(matches!(read, Err(Failure::Lost(_) | Failure::Connect(_))), "{read:?}");
        }
    }
}

#[test]
fn bad_settings_name_what_is_bad() {
    let new = |pem| TlsSetup::new(pem).map(|_| ()).unwrap_err();
    assert!(matches!(new(TlsPem { roots: Some(b"x".to_vec()), ..TlsPem::default() }), TlsError::Roots(_)));
    let client = Some((b"x".to_vec(), b"y".to_vec()));
    assert!(matches!(new(TlsPem { client, ..TlsPem::default() }), TlsError::Client(_)));
    assert!(matches!(new(TlsPem { server_name: Some("a b".into()), ..TlsPem::default() }), TlsError::ServerName(_)));
}
