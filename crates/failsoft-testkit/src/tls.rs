//! Certificates for servers that speak TLS, and the kit's own connections to them.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, pem::PemObject as _},
    },
};

use crate::Error;

/// A folder of PEM files and a connector that trusts its authority.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) ca: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) connector: TlsConnector,
}

impl Tls {
    /// Reads `ca.crt`, and checks that `server.crt` and `server.key` are there.
    pub(crate) fn load(folder: &Path) -> Result<Tls, Error> {
        // Servers run in folders of their own, so the paths have to be absolute.
        let folder = folder.canonicalize().map_err(Error::io(format!("TLS folder {}", folder.display())))?;
        let file = |name: &str| {
            let path = folder.join(name);
            if path.is_file() { Ok(path) } else { Err(Error::Config(format!("{} is missing", path.display()))) }
        };
        let (ca, certificate, key) = (file("ca.crt")?, file("server.crt")?, file("server.key")?);
        let connector = connector(&ca).map_err(Error::io(format!("the authority {}", ca.display())))?;
        Ok(Tls { ca, certificate, key, connector })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("ca", &self.ca).finish_non_exhaustive()
    }
}

fn connector(ca: &Path) -> io::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(io::Error::other)? {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    // The provider is named: a process may have several, and then rustls refuses to choose.
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
