//! Settings from JavaScript. Keys, defaults and ranges come from the core; names are written in JavaScript's
//! way, in camelCase and with `Ms` after the name of a duration.

use crate::given::{Given, Member};
use crate::tls;
use failsoft::{Builder, Config, ConfigError, KeySpec, Router, Setting, SettingKind, unknown_key};
use napi::Env;
use napi::bindgen_prelude::Object;

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
        "ttl" | "deadline" | "timeout" | "hold" => format!("{argument}Ms"),
        "staleness_budget" => "stalenessBudgetMs".to_owned(),
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

/// Makes the builder of a router from its settings, without `encoding`, which is JavaScript's own.
pub(crate) fn read(nodes: Given, settings: Vec<Member>) -> Result<Builder, ConfigError> {
    let addresses = match nodes {
        Given::Text { value } => vec![value],
        Given::List { value } => value,
        other => return Err(ConfigError::new("nodes", other.refused("a string, or an array of strings"))),
    };
    let mut builder = Router::builder(addresses);
    for Member { name: key, value } in settings {
        if key == "tls" {
            if let Some(tls) = tls::read(value)? {
                builder = builder.tls(tls);
            }
            continue;
        }
        let Some(spec) = Config::KEYS.iter().find(|spec| name(spec) == key) else {
            let known = Config::KEYS.iter().map(name).chain(["tls", "encoding"].map(str::to_owned));
            return Err(unknown_key(&key, known.collect()));
        };
        builder = builder.set(spec.name, setting(value, spec).map_err(|problem| ConfigError::new(key, problem))?);
    }
    Ok(builder)
}

/// A setting as the core takes it, which checks whether it fits.
fn setting(given: Given, spec: &KeySpec) -> Result<Setting, String> {
    let map = matches!(spec.kind, SettingKind::AddressMap { .. });
    Ok(match given {
        Given::Null => Setting::Off,
        Given::Boolean { value } => Setting::Bool(value),
        Given::Number { value } if is_duration(spec) => Setting::Millis(value),
        Given::Number { value } => Setting::Number(value),
        Given::Text { value } => Setting::Text(value),
        Given::List { value } => Setting::List(value),
        Given::Members { value } if map => Setting::List(value.into_iter().map(pair).collect::<Result<_, _>>()?),
        other if map => return Err(other.refused(&format!("a plain object, an array or a string: {}", spec.kind))),
        other => return Err(other.refused(&spec.kind.to_string())),
    })
}

fn pair(Member { name, value }: Member) -> Result<String, String> {
    match value {
        Given::Text { value } => Ok(format!("{name}={value}")),
        other => Err(other.refused("addresses, as strings")),
    }
}

/// The core's settings: for each key its default (milliseconds for a duration) and what is allowed.
pub(crate) fn table(env: &Env) -> napi::Result<Object<'_>> {
    let mut table = Object::new(env)?;
    for spec in Config::KEYS {
        let mut row = Object::new(env)?;
        match &spec.default {
            Setting::Duration(duration) => row.set("default", duration.as_secs_f64() * 1000.0)?,
            Setting::Millis(number) | Setting::Number(number) => row.set("default", *number)?,
            Setting::Integer(number) => row.set("default", *number)?,
            Setting::Bool(yes) => row.set("default", *yes)?,
            Setting::Text(text) => row.set("default", text)?,
            Setting::Word(word) => row.set("default", *word)?,
            Setting::List(list) => row.set("default", list)?,
            Setting::Off => row.set("default", napi::bindgen_prelude::Null)?,
        }
        row.set("allowed", spec.kind.to_string())?;
        table.set(name(spec), row)?;
    }
    Ok(table)
}
