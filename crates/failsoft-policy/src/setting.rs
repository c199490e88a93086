//! One setting: its value as a caller gives it, its kind and range, and how one becomes the other.

use crate::endpoint;
use crate::error::quoted;
use crate::words::Endpoint;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// The value of a setting as a caller gives it.
#[derive(Clone, PartialEq)]
pub enum Setting {
    /// A duration.
    Duration(Duration),
    /// A duration in milliseconds.
    Millis(f64),
    /// A whole number.
    Integer(i64),
    /// A number. A whole one is also taken where an integer belongs.
    Number(f64),
    /// Yes or no.
    Bool(bool),
    /// A text. For `address_map` a list, parted by commas.
    Text(String),
    /// One of the words of a choice.
    Word(&'static str),
    /// Several texts.
    List(Vec<String>),
    /// Not set, where that exists.
    Off,
}

impl Setting {
    /// Whether this turns off a setting of which the text `off` is no value: there it means what the documentation
    /// says, off. A user, a password or a name may be `off`, and are taken as they are.
    fn is_off(&self) -> bool {
        match self {
            Self::Off => true,
            Self::Text(text) => text == "off",
            _ => false,
        }
    }
}

/// What a setting is and what it may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A duration from `min` to `max`.
    Duration {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
        /// Whether it can be off.
        off: bool,
    },
    /// A whole number from `min` to `max`.
    Integer {
        /// The lowest.
        min: u32,
        /// The highest.
        max: u32,
    },
    /// A number from `min` to `max`.
    Number {
        /// The lowest.
        min: f64,
        /// The highest.
        max: f64,
    },
    /// `true` or `false`.
    Bool,
    /// One of these words.
    Choice {
        /// All of them.
        words: &'static [&'static str],
    },
    /// A text of 1 to `max` bytes without spaces and control characters, or off.
    Word {
        /// The most bytes.
        max: usize,
        /// Whether only ASCII is allowed.
        ascii: bool,
    },
    /// A text of 1 to `max` bytes that is never shown, or off.
    Secret {
        /// The most bytes.
        max: usize,
    },
    /// A list of at most `max` pairs of addresses, each `from=to`, or off.
    AddressMap {
        /// The most pairs.
        max: usize,
    },
}

/// One row of the table of settings.
#[derive(Clone, Debug, PartialEq)]
pub struct KeySpec {
    /// The key.
    pub name: &'static str,
    /// What it is; its text is what is allowed.
    pub kind: Kind,
    /// The default; its text is readable.
    pub default: Setting,
    /// What it means.
    pub doc: &'static str,
}

/// Shows the value for messages: a text in quotes.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duration(d) => f.write_str(&span(*d)),
            Self::Millis(n) => write!(f, "{} ms", number(*n)),
            Self::Integer(n) => n.fmt(f),
            Self::Number(n) => f.write_str(&number(*n)),
            Self::Bool(b) => b.fmt(f),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Word(word) => f.write_str(word),
            Self::List(list) => write!(f, "a list of {}", list.len()),
            Self::Off => f.write_str("off"),
        }
    }
}

/// Hides texts: one of them may be a password.
impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("a text"),
            other => fmt::Display::fmt(other, f),
        }
    }
}

/// What is allowed.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duration { min, max, off } => {
                write!(f, "{} to {}{}", span(*min), span(*max), if *off { ", or off" } else { "" })
            }
            Self::Integer { min, max } => write!(f, "{min} to {max}"),
            Self::Number { min, max } => write!(f, "{min} to {max}"),
            Self::Bool => f.write_str("true or false"),
            Self::Choice { words } => match words {
                [first @ .., last] if !first.is_empty() => write!(f, "{} or {last}", first.join(", ")),
                _ => f.write_str(&words.concat()),
            },
            Self::Word { max, ascii } => {
                let what = if *ascii { "ASCII characters" } else { "bytes" };
                write!(f, "1 to {max} {what} without spaces and control characters, or off")
            }
            Self::Secret { max } => write!(f, "a text of 1 to {max} bytes, or off"),
            Self::AddressMap { max } => {
                write!(f, "at most {max} pairs `from=to` of `host:port` or `[v6]:port`, or off")
            }
        }
    }
}

/// A text that `Debug` never prints.
#[derive(Clone, PartialEq)]
pub(crate) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// How the value of one type is taken from a setting, and shown to its reader.
pub(crate) trait Field: Sized {
    type View<'a>
    where
        Self: 'a;
    /// The value, or what is wrong with the setting.
    fn take(setting: Setting, kind: Kind) -> Result<Self, String>;
    fn view(&self) -> Self::View<'_>;
}

impl Field for Duration {
    type View<'a> = Self;
    fn take(setting: Setting, kind: Kind) -> Result<Self, String> {
        let (value, range) = match (&setting, kind) {
            (Setting::Duration(value), Kind::Duration { min, max, .. }) => (Some(*value), min..=max),
            // The conversion refuses what is negative, too large or no number.
            (Setting::Millis(millis), Kind::Duration { min, max, .. }) => {
                (Self::try_from_secs_f64(millis / 1000.0).ok(), min..=max)
            }
            _ => return Err(mismatch(&setting, "duration", kind)),
        };
        value.filter(|value| range.contains(value)).ok_or_else(|| out_of_range(&setting, kind))
    }
    fn view(&self) -> Self {
        *self
    }
}

impl Field for Option<Duration> {
    type View<'a> = Self;
    fn take(setting: Setting, kind: Kind) -> Result<Self, String> {
        match kind {
            Kind::Duration { off: true, .. } if setting.is_off() => Ok(None),
            _ => Duration::take(setting, kind).map(Some),
        }
    }
    fn view(&self) -> Self {
        *self
    }
}

impl Field for u32 {
    type View<'a> = Self;
    fn take(setting: Setting, kind: Kind) -> Result<Self, String> {
        let (value, range) = match (&setting, kind) {
            (Setting::Integer(value), Kind::Integer { min, max }) => (*value, min..=max),
            // A language whose numbers are all floating point writes 3 as 3.0. The cast saturates,
            // and what it loses shows when it is cast back.
            (Setting::Number(value), Kind::Integer { min, max }) if *value as i64 as f64 == *value => {
                (*value as i64, min..=max)
            }
            _ => return Err(mismatch(&setting, "whole number", kind)),
        };
        Self::try_from(value).ok().filter(|value| range.contains(value)).ok_or_else(|| out_of_range(&setting, kind))
    }
    fn view(&self) -> Self {
        *self
    }
}

impl Field for f64 {
    type View<'a> = Self;
    fn take(setting: Setting, kind: Kind) -> Result<Self, String> {
        let (value, range) = match (&setting, kind) {
            (Setting::Number(value), Kind::Number { min, max }) => (*value, min..=max),
            (Setting::Integer(value), Kind::Number { min, max }) => (*value as Self, min..=max),
            _ => return Err(mismatch(&setting, "number", kind)),
        };
        // NaN is in no range.
        if range.contains(&value) { Ok(value) } else { Err(out_of_range(&setting, kind)) }
    }
    fn view(&self) -> Self {
        *self
    }
}

impl Field for bool {
    type View<'a> = Self;
    fn take(setting: Setting, kind: Kind) -> Result<Self, String> {
        match setting {
            Setting::Bool(value) => Ok(value),
            other => Err(mismatch(&other, "boolean", kind)),
        }
    }
    fn view(&self) -> Self {
        *self
    }
}

/// A type that is a closed list of words.
pub(crate) trait Choice: Copy + 'static {
    /// All of them.
    fn all() -> &'static [Self];
    /// This one's word.
    fn word(self) -> &'static str;
}

impl<C: Choice> Field for C {
    type View<'a> = Self;
    fn take(setting: Setting, kind: Kind) -> Result<Self, String> {
        let word = match &setting {
            Setting::Text(text) => text,
            Setting::Word(word) => *word,
            _ => return Err(mismatch(&setting, "text", kind)),
        };
        let chosen = C::all().iter().find(|choice| choice.word() == word);
        chosen.copied().ok_or_else(|| format!("{setting} is not allowed; allowed: {kind}"))
    }
    fn view(&self) -> Self {
        *self
    }
}

impl Field for Option<String> {
    type View<'a> = Option<&'a str>;
    fn take(setting: Setting, kind: Kind) -> Result<Self, String> {
        match (&setting, kind) {
            (Setting::Off, _) => Ok(None),
            (Setting::Text(text), Kind::Word { max, ascii }) => {
                let clean = |c: char| !c.is_whitespace() && !c.is_control() && (!ascii || c.is_ascii());
                if text.is_empty() || text.len() > max || !text.chars().all(clean) {
                    return Err(format!("{setting} is not allowed; allowed: {kind}"));
                }
                Ok(Some(text.clone()))
            }
            _ => Err(mismatch(&setting, "text", kind)),
        }
    }
    fn view(&self) -> Option<&str> {
        self.as_deref()
    }
}

impl Field for Option<Secret> {
    type View<'a> = Option<&'a str>;
    fn take(setting: Setting, kind: Kind) -> Result<Self, String> {
        match (setting, kind) {
            (Setting::Off, _) => Ok(None),
            (Setting::Text(text), Kind::Secret { max }) if (1..=max).contains(&text.len()) => Ok(Some(Secret(text))),
            // Nothing of the setting is shown, whatever it was.
            (Setting::Text(text), _) => Err(format!("a text of {} bytes is out of range; allowed: {kind}", text.len())),
            _ => Err(format!("what was given is not a text; allowed: {kind}")),
        }
    }
    fn view(&self) -> Option<&str> {
        self.as_ref().map(|secret| secret.0.as_str())
    }
}

impl Field for Vec<(Endpoint, Endpoint)> {
    type View<'a> = &'a [(Endpoint, Endpoint)];
    fn take(setting: Setting, kind: Kind) -> Result<Self, String> {
        let (entries, max) = match (setting, kind) {
            (setting, _) if setting.is_off() => return Ok(Self::new()),
            (Setting::Text(text), Kind::AddressMap { max }) => {
                (text.split(',').map(|entry| entry.trim().to_string()).collect(), max)
            }
            (Setting::List(list), Kind::AddressMap { max }) => (list, max),
            (other, _) => return Err(mismatch(&other, "list", kind)),
        };
        if entries.len() > max {
            return Err(format!("{} pairs are too many; allowed: {kind}", entries.len()));
        }
        let mut map = Self::with_capacity(entries.len());
        for entry in &entries {
            let (from, to) = endpoint::parse_pair(entry)?;
            map.push((from, to));
        }
        map.sort();
        // Sorted, so that equal ones are neighbours.
        match map.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(format!("the address {} is mapped twice; allowed: {kind}", pair[0].0)),
            None => Ok(map),
        }
    }
    fn view(&self) -> &[(Endpoint, Endpoint)] {
        self
    }
}

fn mismatch(setting: &Setting, what: &str, kind: Kind) -> String {
    format!("{setting} is not a {what}; allowed: {kind}")
}

fn out_of_range(setting: &Setting, kind: Kind) -> String {
    format!("{setting} is out of range; allowed: {kind}")
}

/// A number as one would write it: a large one not with all of its digits.
fn number(n: f64) -> String {
    if (-1e15..1e15).contains(&n) { n.to_string() } else { format!("{n:e}") }
}

/// A duration in the largest unit that names it exactly.
fn span(duration: Duration) -> String {
    let (millis, rest) = (duration.as_millis(), duration.subsec_nanos() % 1_000_000);
    match (millis, rest) {
        (_, 1..) => format!("{duration:?}"),
        (0, _) => "0 ms".to_string(),
        (ms, _) if ms % 86_400_000 == 0 => format!("{} d", ms / 86_400_000),
        (ms, _) if ms % 3_600_000 == 0 => format!("{} h", ms / 3_600_000),
        (ms, _) if ms % 1000 == 0 => format!("{} s", ms / 1000),
        (ms, _) => format!("{ms} ms"),
    }
}
