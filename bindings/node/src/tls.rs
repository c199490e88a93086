//! Encryption of connections, with the names of Node's own `tls` module.

use failsoft::{ConfigError, Tls};
use napi::bindgen_prelude::{Either, FromNapiValue, Object, Uint8ArraySlice};
use napi::{JsString, Result, Unknown, ValueType};

const ALLOWED: &str = "allowed: ca, cert, key, servername, rejectUnauthorized";

/// Reads `tls`: true, or an object.
pub(crate) fn read(value: Unknown<'_>) -> Result<std::result::Result<Option<Tls>, ConfigError>> {
    let bad = |key: &str, problem: &str| Ok(Err(ConfigError::new(key, problem)));
    match value.get_type()? {
        ValueType::Undefined | ValueType::Null => return Ok(Ok(None)),
        ValueType::Boolean => return Ok(Ok(bool::from_unknown(value)?.then(Tls::new))),
        ValueType::Object => {}
        _ => {
            return bad(
                "tls",
                &format!("a value of this type is not allowed; allowed: true, false, or an object; {ALLOWED}"),
            );
        }
    }
    let options = Object::from_unknown(value)?;
    let (mut tls, mut chain, mut secret) = (Tls::new(), None, None);
    for name in Object::keys(&options)? {
        let Some(value) = options.get::<Unknown<'_>>(&name)? else { continue };
        if value.get_type()? == ValueType::Undefined {
            continue;
        }
        let key = format!("tls.{name}");
        match name.as_str() {
            "ca" | "cert" | "key" => {
                let Some(pem) = pem(value)? else { return bad(&key, "allowed: PEM, as a string or bytes") };
                match name.as_str() {
                    "ca" => tls = tls.ca_pem(pem),
                    "cert" => chain = Some(pem),
                    _ => secret = Some(pem),
                }
            }
            "servername" => match String::from_unknown(value) {
                Ok(name) => tls = tls.server_name(name),
                Err(_) => return bad(&key, "allowed: a string"),
            },
            "rejectUnauthorized" => match bool::from_unknown(value) {
                Ok(true) => {}
                Ok(false) => tls = tls.danger_accept_invalid_certs(),
                Err(_) => return bad(&key, "allowed: true or false"),
            },
            _ => return bad(&key, &format!("no such key; {ALLOWED}")),
        }
    }
    match (chain, secret) {
        (Some(chain), Some(secret)) => Ok(Ok(Some(tls.client_pem(chain, secret)))),
        (None, None) => Ok(Ok(Some(tls))),
        _ => bad("tls", "`cert` and `key` belong together"),
    }
}

fn pem(value: Unknown<'_>) -> Result<Option<Vec<u8>>> {
    Ok(match value.get_type()? {
        ValueType::String => Some(JsString::from_unknown(value)?.into_utf8()?.take()),
        ValueType::Object => {
            Either::<Uint8ArraySlice<'_>, Unknown<'_>>::from_unknown(value).ok().and_then(|given| match given {
                Either::A(bytes) => Some(bytes.to_vec()),
                Either::B(_) => None,
            })
        }
        _ => None,
    })
}
