//! Passwords, ACL users and TLS: the kit's own commands get in, and the nodes reach each other.

#![allow(clippy::unwrap_used, reason = "a test may end with a panic")]

mod common;

use std::{fs, path::Path};

use common::{Raw, server};
use failsoft_testkit::{Cluster, Error, Standalone, key_in};
use redis::Value;

#[tokio::test]
async fn a_cluster_with_a_password_and_a_user() {
    let builder = Cluster::builder().server(&server()).primaries(2).replicas(1);
    let builder = builder.config("requirepass", "secret").config("masterauth", "secret").auth("", "secret");
    let cluster = builder.user("app", "on >app ~* +get +ping").start().await.unwrap();

    let mut client = Raw::connect(&cluster.node(0).address()).await;
    client.send("GET k").await;
    assert!(client.line().await.starts_with("-NOAUTH"));
    client.ask("AUTH app app", "+OK\r\n").await;
    client.ask(&format!("GET {}", key_in(1)), "$-1\r\n").await;
    client.send(&format!("SET {} v", key_in(1))).await;
    assert!(client.line().await.starts_with("-NOPERM"));

    let key = key_in(7);
    cluster.command(0, &["SET", &key, "v"]).await.unwrap();
    let migration = cluster.begin_migration(7, 0, 1).await.unwrap();
    assert_eq!(migration.move_keys(10).await.unwrap(), 1);
    migration.finish().await.unwrap();
    assert_eq!(cluster.command(1, &["GET", &key]).await.unwrap(), Value::BulkString(b"v".to_vec()));
    cluster.failover(2).await.unwrap();
    cluster.wait_until_ok().await.unwrap();
}

#[tokio::test]
async fn a_password_that_the_kit_was_not_told_is_an_error_at_once() {
    let locked = || Standalone::builder().server(&server()).config("requirepass", "secret");
    for builder in [locked(), locked().auth("", "wrong")] {
        let error = builder.start().await.unwrap_err();
        assert!(matches!(error, Error::Command { .. }), "{error}");
    }
    let single = locked().auth("default", "secret").start().await.unwrap();
    assert_eq!(single.command(&["PING"]).await.unwrap(), Value::SimpleString("PONG".to_owned()));
}

#[tokio::test]
async fn tls_where_the_server_has_it() {
    let folder = tempfile::tempdir().unwrap();
    write_certificates(folder.path());
    let started = Cluster::builder().server(&server()).primaries(2).replicas(1).tls(folder.path()).start().await;
    // A distribution's server has it; those of the Python packages may not, and then the error says so.
    if let Err(error) = &started
        && !server().path().starts_with("/usr/bin")
    {
        assert!(error.to_string().contains("without TLS"), "{error}");
        return;
    }
    let cluster = started.unwrap();
    let key = key_in(7);
    cluster.command(0, &["SET", &key, "v"]).await.unwrap();
    cluster.begin_migration(7, 0, 1).await.unwrap().finish().await.unwrap();
    assert_eq!(cluster.command(1, &["GET", &key]).await.unwrap(), Value::BulkString(b"v".to_vec()));
    cluster.failover(2).await.unwrap();
    cluster.wait_until_ok().await.unwrap();

    let mut plain = Raw::connect(&cluster.node(0).address()).await;
    plain.send("PING").await;
    plain.expect_closed().await;

    fs::remove_file(folder.path().join("server.key")).unwrap();
    let error = Standalone::builder().server(&server()).tls(folder.path()).start().await.unwrap_err().to_string();
    assert!(error.contains("server.key"), "{error}");
}

fn write_certificates(folder: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    fs::write(folder.join("ca.crt"), authority_certificate.pem()).unwrap();
    fs::write(folder.join("server.crt"), certificate.pem()).unwrap();
    fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
}
