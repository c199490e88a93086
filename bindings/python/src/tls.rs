//! How connections are encrypted, as a Python object.

use crate::convert::{described, octets, type_name};
use crate::errors::raised;
use failsoft::ConfigError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyString};

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
        py: Python<'_>,
        ca_pem: Option<&Bound<'_, PyAny>>,
        client_cert_pem: Option<&Bound<'_, PyAny>>,
        client_key_pem: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = name)] server_name: Option<String>,
        #[pyo3(from_py_with = flag)] danger_accept_invalid_certs: bool,
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
            (Some(_), None) => return Err(bad(py, "client_key_pem", TOGETHER)),
            (None, Some(_)) => return Err(bad(py, "client_cert_pem", TOGETHER)),
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

const TOGETHER: &str = "is missing; allowed: `client_cert_pem` and `client_key_pem` together, or neither";

fn bad(py: Python<'_>, key: &str, problem: impl Into<String>) -> PyErr {
    raised(py, &ConfigError::new(key, problem).into())
}

fn name(given: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    if given.is_none() {
        return Ok(None);
    }
    let text = given.cast::<PyString>().ok().and_then(|text| text.to_cow().ok());
    let refused = || bad(given.py(), "server_name", format!("{}; allowed: str, a host's name", described(given)));
    text.map(|text| Some(text.into_owned())).ok_or_else(refused)
}

fn flag(given: &Bound<'_, PyAny>) -> PyResult<bool> {
    let refused = |_| {
        let problem = format!("{} is not allowed; allowed: true or false", type_name(given));
        bad(given.py(), "danger_accept_invalid_certs", problem)
    };
    given.cast::<PyBool>().map(|flag| flag.is_true()).map_err(refused)
}
