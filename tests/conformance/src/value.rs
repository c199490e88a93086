//! The small values of scenario files: texts and bytes, numbers and ranges, addresses put into texts.

use crate::protocol::Blob;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;

/// A key or a value: a text, or bytes that YAML cannot write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(crate) enum Text {
    Plain(String),
    /// Two digits for each byte.
    Hex {
        hex: String,
    },
    /// The same text many times.
    Repeat {
        repeat: String,
        times: usize,
    },
}

impl Text {
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Plain(text) => Ok(text.as_bytes().to_vec()),
            Self::Repeat { repeat, times } => Ok(repeat.as_bytes().repeat(*times)),
            Self::Hex { hex } => {
                let digits = hex.as_bytes().chunks(2);
                let byte = |pair: &[u8]| {
                    let text = std::str::from_utf8(pair).ok().filter(|text| text.len() == 2)?;
                    u8::from_str_radix(text, 16).ok()
                };
                digits.map(byte).collect::<Option<_>>().ok_or_else(|| format!("{hex:?} is no text of hex digits"))
            }
        }
    }

    pub(crate) fn blob(&self) -> Result<Blob, String> {
        self.bytes().map(Blob)
    }
}

/// A number, or what is allowed of it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Number {
    Exactly(u64),
    Range(Range),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Range {
    #[serde(default)]
    min: u64,
    #[serde(default = "most")]
    max: u64,
}

fn most() -> u64 {
    u64::MAX
}

impl Number {
    pub(crate) fn admits(self, number: u64) -> bool {
        match self {
            Self::Exactly(wanted) => number == wanted,
            Self::Range(Range { min, max }) => (min..=max).contains(&number),
        }
    }

    /// An error that says what there is instead.
    pub(crate) fn check(self, what: &str, number: u64) -> Result<(), String> {
        if self.admits(number) { Ok(()) } else { Err(format!("{what} is {number}, expected {self}")) }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(number) => write!(f, "{number}"),
            Self::Range(Range { min, max: u64::MAX }) => write!(f, "at least {min}"),
            Self::Range(Range { min, max }) => write!(f, "{min} to {max}"),
        }
    }
}

/// Bytes for messages: as text, cut short.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(60)];
    let more = if start.len() < bytes.len() { format!("… ({} bytes)", bytes.len()) } else { String::new() };
    format!("\"{}\"{more}", start.escape_ascii())
}

/// Puts the nodes' addresses into a text: `$p1` is `host:port`, `$p1.port` the port.
pub(crate) fn with_addresses(text: &str, addresses: &BTreeMap<String, String>) -> String {
    let mut text = text.to_owned();
    // Longer names first: `$p1` is the beginning of `$p10`.
    let mut names: Vec<_> = addresses.iter().collect();
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    for (name, address) in names {
        let port = address.rsplit_once(':').map_or("", |(_, port)| port);
        text = text.replace(&format!("${name}.port"), port).replace(&format!("${name}"), address);
    }
    text
}
