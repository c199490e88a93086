//! Encryption of connections, with the names of Node's own `tls` module.

use crate::given::{Given, Member};
use failsoft::{ConfigError, Tls};

const KEYS: &str = "ca, cert, key, servername, rejectUnauthorized";

/// Reads `tls`: true, or an object.
pub(crate) fn read(given: Given) -> Result<Option<Tls>, ConfigError> {
    match given {
        Given::Null => Ok(None),
        Given::Boolean { value } => Ok(value.then(Tls::new)),
        Given::Members { value } => object(value).map(Some),
        other => Err(bad("tls", other.refused(&format!("true, false, or a plain object of {KEYS}")))),
    }
}

fn object(options: Vec<Member>) -> Result<Tls, ConfigError> {
    let (mut tls, mut chain, mut secret) = (Tls::new(), None, None);
    for Member { name, value } in options {
        let key = format!("tls.{name}");
        match (name.as_str(), value) {
            ("ca", value) => tls = tls.ca_pem(pem(&key, value)?),
            ("cert", value) => chain = Some(pem(&key, value)?),
            ("key", value) => secret = Some(pem(&key, value)?),
            ("servername", Given::Text { value }) => tls = tls.server_name(value),
            ("servername", other) => return Err(bad(&key, other.refused("a string"))),
            ("rejectUnauthorized", Given::Boolean { value: true }) => {}
            ("rejectUnauthorized", Given::Boolean { value: false }) => tls = tls.danger_accept_invalid_certs(),
            ("rejectUnauthorized", other) => return Err(bad(&key, other.refused("true or false"))),
            _ => return Err(bad(&key, format!("no such key; allowed: {KEYS}"))),
        }
    }
    match (chain, secret) {
        (Some(chain), Some(secret)) => Ok(tls.client_pem(chain, secret)),
        (None, None) => Ok(tls),
        _ => Err(bad("tls", "`cert` and `key` belong together".to_owned())),
    }
}

fn pem(key: &str, given: Given) -> Result<Vec<u8>, ConfigError> {
    match given {
        Given::Text { value } => Ok(value.into_bytes()),
        Given::Bytes { value } => Ok(value.to_vec()),
        other => Err(bad(key, other.refused("PEM, as a string or a Uint8Array"))),
    }
}

fn bad(key: &str, problem: String) -> ConfigError {
    ConfigError::new(key, problem)
}
