//! TLS to a real server: whom the router believes, and whom the server believes.

#![allow(clippy::print_stdout, reason = "what could not be tested is said")]

mod support;

use failsoft::{Builder, Reason, ServedBy, Tls};
use failsoft_testkit::{Cluster, Server};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::path::Path;
use support::{eventually, in_time, patient, read, ready_router, server, text};

/// A certificate and its key, as PEM.
struct Pem {
    certificate: String,
    key: String,
}

/// An authority.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("signed").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, names: &[&str]) -> Pem {
        let mut params =
            CertificateParams::new(names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>()).expect("good names");
        // A subject that is the issuer's would make it look self-signed.
        params.distinguished_name.push(DnType::CommonName, names[0]);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed").pem();
        Pem { certificate, key: key.serialize_pem() }
    }

    fn write(&self, folder: &Path) {
        let server = self.sign(&["127.0.0.1", "cache.example"]);
        for (name, pem) in [("ca.crt", &self.pem), ("server.crt", &server.certificate), ("server.key", &server.key)] {
            std::fs::write(folder.join(name), pem).expect("a file");
        }
    }
}

/// A cluster of the chosen server; of another one where that was built without TLS. If none has it, an
/// error that says so.
async fn encrypted(folder: &Path) -> Result<Cluster, String> {
    encrypted_with(folder, 1).await
}

async fn encrypted_with(folder: &Path, primaries: usize) -> Result<Cluster, String> {
    let start = async |server: &Server| {
        Cluster::builder().server(server).primaries(primaries).replicas(0).tls(folder).start().await
    };
    let chosen = server();
    let error = match start(&chosen).await {
        Ok(cluster) => return Ok(cluster),
        Err(error) => error.to_string(),
    };
    assert!(error.contains("without TLS"), "{chosen}: {error}");
    println!("{chosen} was built without TLS; the server on PATH is taken");
    let other = Server::find(Some("path")).map_err(|e| e.to_string())?;
    start(&other).await.map_err(|e| e.to_string())
}

/// Whoever does not get through serves from the callback, and says nothing wrong.
async fn kept_out(what: &str, builder: Builder) {
    let router = builder.build().expect("good settings");
    let outcome = in_time(what, read(&router, "k")).await.expect("the callback serves");
    assert_eq!((outcome.served_by, text(&outcome)), (ServedBy::Secondary, Some("loaded")), "{what}");
    assert_eq!(outcome.reason, Some(Reason::Connection), "{what}");
    router.close().await;
}

async fn let_in(what: &str, builder: Builder) {
    let router = ready_router(builder).await;
    in_time(what, router.set("k", what, None)).await.unwrap_or_else(|e| panic!("{what}: {e}"));
    let outcome = in_time(what, read(&router, "k")).await.expect("a read");
    assert_eq!((outcome.served_by, text(&outcome)), (ServedBy::Primary, Some(what)));
    router.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_both_sides_believe() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
    ours.write(folder.path());
    let cluster = match encrypted(folder.path()).await {
        Ok(cluster) => cluster,
        Err(error) => {
            assert!(error.contains("without TLS") || error.contains("path"), "{error}");
            println!("no server with TLS on this machine, so nothing could be encrypted: {error}");
            return;
        }
    };
    let nodes = || patient(cluster.addresses());
    let trusting = || Tls::new().ca_pem(ours.pem.clone());

    let_in("our authority", nodes().tls(trusting())).await;
    let urls = cluster.addresses().into_iter().map(|a| format!("rediss://{a}"));
    let_in("by URL", patient(urls).tls(trusting())).await;
    let_in("the name of the certificate", nodes().tls(trusting().server_name("cache.example"))).await;
    let_in("anybody", nodes().tls(Tls::new().danger_accept_invalid_certs())).await;

    kept_out("Mozilla's authorities", nodes().tls(Tls::new())).await;
    kept_out("a foreign authority", nodes().tls(Tls::new().ca_pem(foreign.pem.clone()))).await;
    kept_out("another name", nodes().tls(trusting().server_name("other.example"))).await;
    kept_out("no encryption", nodes()).await;

    // From now on the server wants to see a certificate.
    cluster.command(0, &["CONFIG", "SET", "tls-auth-clients", "yes"]).await.expect("a setting");
    let client = ours.sign(&["client"]);
    let stranger = foreign.sign(&["client"]);
    let_in("a client certificate", nodes().tls(trusting().client_pem(client.certificate, client.key))).await;
    kept_out("no client certificate", nodes().tls(trusting())).await;
    kept_out("a stranger's", nodes().tls(trusting().client_pem(stranger.certificate, stranger.key))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_encryption_is_not_believed_to_have_it() {
    let node = support::scripted().await;
    node.set("k", "v");
    kept_out("TLS to a plain server", patient([node.address()]).tls(Tls::new())).await;
    assert_eq!(node.count("GET"), 0);
    let router = ready_router(patient([node.address()])).await;
    eventually("without it", async || read(&router, "k").await.expect("a read").served_by == ServedBy::Primary).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_ports_the_one_of_the_connection_s_kind_is_dialled() {
    let folder = tempfile::tempdir().expect("a folder");
    let ours = Authority::new("ours");
    ours.write(folder.path());
    let cluster = match encrypted_with(folder.path(), 3).await {
        Ok(cluster) => cluster,
        Err(error) => {
            println!("no server with TLS on this machine, so nothing could be encrypted: {error}");
            return;
        }
    };
    // As while a cluster moves to TLS: from now on each node listens on a plain port, too, and names both of its own.
    for node in 0..3 {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        cluster.command(node, &["CONFIG", "SET", "port", &free.port().to_string()]).await.expect("a second port");
    }
    let quick = patient(cluster.addresses()).slot_refresh_interval(std::time::Duration::from_secs(1));
    let router = ready_router(quick.tls(Tls::new().ca_pem(ours.pem.clone()))).await;
    let mut meant = cluster.addresses();
    meant.sort();
    for round in 0..4 {
        eventually("another view", async || router.health().refreshes > round).await;
        let mut known: Vec<_> = router.health().nodes.into_iter().map(|n| n.address).collect();
        known.sort();
        assert_eq!(known, meant);
        for key in [1, 6000, 12_000].map(failsoft_testkit::key_in) {
            eventually("a write", async || router.set(&key, "stored", None).await.is_ok()).await;
            let outcome = read(&router, key).await.expect("a read");
            assert_eq!((outcome.served_by, text(&outcome)), (ServedBy::Primary, Some("stored")));
        }
    }
}
