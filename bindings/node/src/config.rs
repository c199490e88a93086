//! Settings from a JavaScript object. Keys, defaults and ranges come from the core; names are written in JavaScript's
//! way, in camelCase and with `Ms` after the name of a duration.

use crate::tls;
use failsoft::{Builder, Config, ConfigError, KeySpec, Router, Setting, SettingKind, unknown_key};
use napi::bindgen_prelude::{Array, FromNapiValue, Object};
use napi::{Env, JsValue as _, Result, Unknown, ValueType};

/// The name of a setting in JavaScript.
fn name(spec: &KeySpec) -> String {
    let camel = camel(spec.name);
    if is_duration(spec) { camel + "Ms" } else { camel }
}

/// The JavaScript name for the core's name of a setting. Anything else stays as it is.
pub(crate) fn by_core_name(key: &str) -> String {
    Config::KEYS.iter().find(|spec| spec.name == key).map_or_else(|| key.to_owned(), name)
}

/// The JavaScript name of a call's argument; durations end in `Ms` here, too.
pub(crate) fn argument(argument: &str) -> String {
    match argument {
        "ttl" | "deadline" | "timeout" => format!("{argument}Ms"),
        other => other.to_owned(),
    }
}

fn is_duration(spec: &KeySpec) -> bool {
    matches!(spec.kind, SettingKind::Duration { .. })
}

fn camel(snake: &str) -> String {
    let mut words = snake.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(1);
        camel += &first.to_ascii_uppercase();
        camel += rest;
    }
    camel
}

/// Reads the settings of a router, without `encoding`, which the JavaScript side reads.
pub(crate) fn read(nodes: Unknown<'_>, config: &Object<'_>) -> Result<std::result::Result<Builder, ConfigError>> {
    let addresses = match nodes.get_type()? {
        ValueType::String => Some(vec![String::from_unknown(nodes)?]),
        _ => texts(nodes)?,
    };
    let Some(addresses) = addresses else {
        return Ok(Err(ConfigError::new("nodes", "what was given is not a list of addresses")));
    };
    let mut builder = Router::builder(addresses);
    for key in Object::keys(config)? {
        let Some(value) = config.get::<Unknown<'_>>(&key)? else { continue };
        if value.get_type()? == ValueType::Undefined {
            continue;
        }
        if key == "tls" {
            match tls::read(value)? {
                Ok(Some(tls)) => builder = builder.tls(tls),
                Ok(None) => {}
                Err(error) => return Ok(Err(error)),
            }
            continue;
        }
        let Some(spec) = Config::KEYS.iter().find(|spec| name(spec) == key) else {
            let known = Config::KEYS.iter().map(name).chain(["tls", "encoding"].map(str::to_owned));
            return Ok(Err(unknown_key(&key, known.collect())));
        };
        match setting(value, spec)? {
            Ok(setting) => builder = builder.set(spec.name, setting),
            Err(problem) => return Ok(Err(ConfigError::new(key, problem))),
        }
    }
    Ok(Ok(builder))
}

/// Converts a JavaScript value; the core checks whether it fits.
fn setting(value: Unknown<'_>, spec: &KeySpec) -> Result<std::result::Result<Setting, String>> {
    let unusable = |what: &str| Ok(Err(format!("{what} is not a setting; allowed: {}", spec.kind)));
    Ok(Ok(match value.get_type()? {
        ValueType::Null => Setting::Off,
        ValueType::Boolean => Setting::Bool(bool::from_unknown(value)?),
        ValueType::Number => {
            let number = f64::from_unknown(value)?;
            if is_duration(spec) { Setting::Millis(number) } else { Setting::Number(number) }
        }
        ValueType::String => Setting::Text(String::from_unknown(value)?),
        ValueType::Object if value.is_array()? => match texts(value)? {
            Some(list) => Setting::List(list),
            None => return unusable("an array of something else than strings"),
        },
        ValueType::Object if matches!(spec.kind, SettingKind::AddressMap { .. }) => {
            let map = Object::from_unknown(value)?;
            let mut pairs = Vec::new();
            for from in Object::keys(&map)? {
                match map.get::<Unknown<'_>>(&from)? {
                    Some(to) if to.get_type()? == ValueType::String => {
                        pairs.push(format!("{from}={}", String::from_unknown(to)?));
                    }
                    _ => return Ok(Err("its addresses have to be strings".to_owned())),
                }
            }
            Setting::List(pairs)
        }
        other => return unusable(&format!("a value of type {}", other.to_string().to_lowercase())),
    }))
}

fn texts(value: Unknown<'_>) -> Result<Option<Vec<String>>> {
    if !value.is_array()? {
        return Ok(None);
    }
    let array = Array::from_unknown(value)?;
    let mut texts = Vec::new();
    for at in 0..array.len() {
        match array.get::<Unknown<'_>>(at)? {
            Some(text) if text.get_type()? == ValueType::String => texts.push(String::from_unknown(text)?),
            _ => return Ok(None),
        }
    }
    Ok(Some(texts))
}

/// The core's settings: for each key its default (milliseconds for a duration) and what is allowed.
pub(crate) fn table(env: &Env) -> Result<Object<'_>> {
    let mut table = Object::new(env)?;
    for spec in Config::KEYS {
        let mut row = Object::new(env)?;
        match &spec.default {
            Setting::Duration(duration) => row.set("default", duration.as_secs_f64() * 1000.0)?,
            Setting::Millis(number) | Setting::Number(number) => row.set("default", *number)?,
            Setting::Integer(number) => row.set("default", *number)?,
            Setting::Bool(yes) => row.set("default", *yes)?,
            Setting::Text(text) => row.set("default", text)?,
            Setting::List(list) => row.set("default", list)?,
            Setting::Off => row.set("default", napi::bindgen_prelude::Null)?,
        }
        row.set("allowed", spec.kind.to_string())?;
        table.set(name(spec), row)?;
    }
    Ok(table)
}
