//! How connections are encrypted, as a Python object.

use crate::convert::octets;
use pyo3::prelude::*;

/// How connections are encrypted: TLS 1.2 or 1.3; the servers' certificates must come from one of
/// Mozilla's authorities unless `ca_pem` names others.
#[pyclass(frozen, module = "failsoft")]
pub(crate) struct Tls {
    pub(crate) tls: failsoft::Tls,
}

#[pymethods]
impl Tls {
    #[new]
    #[pyo3(signature = (*, ca_pem=None, client_cert_pem=None, client_key_pem=None, server_name=None, danger_accept_invalid_certs=false))]
    fn new(
        ca_pem: Option<&Bound<'_, PyAny>>,
        client_cert_pem: Option<&Bound<'_, PyAny>>,
        client_key_pem: Option<&Bound<'_, PyAny>>,
        server_name: Option<String>,
        danger_accept_invalid_certs: bool,
    ) -> PyResult<Self> {
        // A PEM file's content, as bytes or as text.
        let pem = |argument, given: Option<&Bound<'_, PyAny>>| given.map(|pem| octets(argument, pem)).transpose();
        let mut tls = failsoft::Tls::new();
        if let Some(authorities) = pem("ca_pem", ca_pem)? {
            tls = tls.ca_pem(authorities);
        }
        match (pem("client_cert_pem", client_cert_pem)?, pem("client_key_pem", client_key_pem)?) {
            (Some(chain), Some(key)) => tls = tls.client_pem(chain, key),
            (None, None) => {}
            _ => {
                let problem = "`client_cert_pem` and `client_key_pem` belong together";
                return Err(pyo3::exceptions::PyValueError::new_err(problem));
            }
        }
        if let Some(name) = server_name {
            tls = tls.server_name(name);
        }
        if danger_accept_invalid_certs {
            tls = tls.danger_accept_invalid_certs();
        }
        Ok(Self { tls })
    }
}
