//! TLS settings from PEM, and the client side of a TLS connection.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::sync::Arc;
use std::{fmt, io};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// TLS as it is configured.
#[derive(Clone, Default)]
pub(crate) struct TlsPem {
    /// Certificates of the authorities to trust; without them, Mozilla's list (webpki-roots).
    pub(crate) roots: Option<Vec<u8>>,
    /// A certificate chain and its private key, where the server asks who we are.
    pub(crate) client: Option<(Vec<u8>, Vec<u8>)>,
    /// The name the server's certificate must be for, instead of the host that is connected to.
    pub(crate) server_name: Option<String>,
    /// Believe every certificate: whoever is in between can read and change everything.
    pub(crate) danger_accept_invalid_certs: bool,
}

/// What is wrong with TLS settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TlsError {
    /// The root certificates are no PEM, or none is in them.
    Roots(String),
    /// The client certificate or its key is no PEM, or they do not belong together.
    Client(String),
    /// The server name is neither a DNS name nor an address.
    ServerName(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Roots(why) => write!(f, "root certificates: {why}; PEM with one or more certificates is needed"),
            Self::Client(why) => write!(f, "client certificate: {why}; PEM with a chain, and PEM with its key"),
            Self::ServerName(name) => write!(f, "server name: '{name}' is neither a DNS name nor an address"),
        }
    }
}

impl std::error::Error for TlsError {}

/// Checked TLS settings, ready to connect; they keep the PEM they came from for other clients.
pub(crate) struct TlsSetup {
    pem: TlsPem,
    server_name: Option<ServerName<'static>>,
    config: Arc<ClientConfig>,
}

impl TlsSetup {
    /// Checks the settings. TLS 1.2 and 1.3, with ring's cryptography, whatever the process has as its default.
    ///
    /// # Errors
    /// Names the setting that is bad.
    pub(crate) fn new(pem: TlsPem) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server_name = match &pem.server_name {
            Some(name) => Some(server_name(name).ok_or_else(|| TlsError::ServerName(name.clone()))?),
            None => None,
        };
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| TlsError::Roots(e.to_string()))?;
        let builder = if pem.danger_accept_invalid_certs {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(BelieveAll(provider)))
        } else {
            builder.with_root_certificates(roots(pem.roots.as_deref())?)
        };
        let config = match &pem.client {
            Some((chain, key)) => {
                let bad = |e: &dyn fmt::Display| TlsError::Client(e.to_string());
                let chain = certificates(chain).map_err(|e| bad(&e))?;
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| bad(&e))?;
                builder.with_client_auth_cert(chain, key).map_err(|e| bad(&e))?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Self { pem, server_name, config: Arc::new(config) })
    }

    /// The settings as they were given.
    pub(crate) fn pem(&self) -> &TlsPem {
        &self.pem
    }

    /// Shakes hands over `tcp` with the server that was reached as `host`.
    pub(super) async fn connect(&self, host: &str, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => server_name(host).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidInput, format!("'{host}' cannot be the name in a certificate"))
            })?,
        };
        TlsConnector::from(self.config.clone()).connect(name, tcp).await
    }
}

impl fmt::Debug for TlsSetup {
    /// Leaves out keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSetup")
            .field("own_roots", &self.pem.roots.is_some())
            .field("client_certificate", &self.pem.client.is_some())
            .field("server_name", &self.pem.server_name)
            .field("danger_accept_invalid_certs", &self.pem.danger_accept_invalid_certs)
            .finish_non_exhaustive()
    }
}

fn server_name(name: &str) -> Option<ServerName<'static>> {
    // No certificate is for the scope of an address.
    let name = name.split('%').next().unwrap_or(name);
    ServerName::try_from(name).ok().map(|n| n.to_owned())
}

fn roots(pem: Option<&[u8]>) -> Result<RootCertStore, TlsError> {
    let Some(pem) = pem else { return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }) };
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem).map_err(TlsError::Roots)? {
        store.add(certificate).map_err(|e| TlsError::Roots(e.to_string()))?;
    }
    Ok(store)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    if found.is_empty() { Err("no certificate in it".to_owned()) } else { Ok(found) }
}

/// Checks that the server has the key of its certificate, and nothing about the certificate.
#[derive(Debug)]
struct BelieveAll(Arc<CryptoProvider>);

impl ServerCertVerifier for BelieveAll {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
