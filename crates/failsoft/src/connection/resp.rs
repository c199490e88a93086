//! Replies from bytes, without I/O: RESP2 and RESP3 (RESP specification, "RESP protocol description").
//!
//! Strings and lines are decoded here; what holds others is put together in `nested`. Attributes are stepped over, and
//! so are pushes, unless somebody wants them.
//! Limits: 512 MiB for one string (the servers' own `proto-max-bulk-len`), 64 KiB for one line, and those of `nested`.
//! RESP3's streamed types (`$?`, `*?`) are refused: no server sends them.

use super::nested::{Nested, Opened};
use super::skip::Skip;
use bytes::buf::Limit;
use bytes::{BufMut, Bytes};
use std::mem;

/// Longer values get a buffer of their own, filled straight from the socket; up to here they are copied out
/// of the read buffer, so that no value keeps a whole read buffer alive.
pub(super) const COPY_LIMIT: usize = 4096;
/// The longest line (with its end) that is taken; a read buffer of this size never gets stuck.
pub(super) const MAX_LINE: usize = 64 * 1024;
/// The longest string.
pub(super) const MAX_BULK: usize = 512 * 1024 * 1024;

/// One reply of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A string; a verbatim one begins with its format and a colon, `txt:`.
    Value(Bytes),
    /// Nothing there.
    Nil,
    /// A status line, such as `OK`.
    Status(Box<str>),
    /// A number.
    Integer(i64),
    /// An error line, without the leading `-`.
    Error(Box<str>),
    /// Several, in their order. A set is one, too, and a map is its keys and values in turn, as RESP2 has it.
    Array(Vec<Reply>),
    /// A well-formed reply of a kind that answers no request of ours: the name of the kind.
    Unexpected(&'static str),
}

/// What a server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// To the oldest request without one.
    Reply(Reply),
    /// To no request: the elements of a push, its kind first.
    Push(Vec<Reply>),
}

/// What makes a stream no RESP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProtocolError(pub(super) String);

/// Splits a stream into replies and pushes.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    state: State,
    /// What the state is part of, if it is part of something.
    nested: Nested,
    /// Bytes of the nested reply on its way that are behind.
    passed: usize,
    /// Pushes are given out, not stepped over.
    pushes: bool,
    /// How much of the unfinished line was searched for its end already.
    scanned: usize,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Header,
    /// A long string; `total` counts its `\r\n`, too.
    Body {
        bytes: Vec<u8>,
        total: usize,
    },
    Skip(Skip),
}

impl Decoder {
    /// Pushes are given out from now on.
    pub(super) fn want_pushes(&mut self) {
        self.pushes = true;
    }

    /// Takes what comes next from `input`, starting at `pos`, and moves `pos` behind what was used.
    /// `None` when more bytes are needed: those not used must be there again next time.
    ///
    /// # Errors
    /// The bytes are no RESP, or over a limit; the stream cannot be used any more.
    #[inline(always)]
    pub(super) fn decode(&mut self, input: &[u8], pos: &mut usize) -> Result<Option<Incoming>, ProtocolError> {
        loop {
            let reply = match self.state {
                State::Header => match self.header(input, pos)? {
                    Parsed::Reply(reply) => reply,
                    Parsed::Begun => continue,
                    Parsed::Unfinished => return Ok(None),
                },
                State::Body { .. } | State::Skip(_) => match self.go_on(input, pos)? {
                    Parsed::Reply(reply) => reply,
                    Parsed::Begun => continue,
                    Parsed::Unfinished => return Ok(None),
                },
            };
            if self.nested.is_empty() {
                return Ok(Some(Incoming::Reply(reply)));
            }
            if let Some(whole) = self.nested.place(reply) {
                self.passed = 0;
                return Ok(Some(whole));
            }
        }
    }

    /// The rest of a long string that is on its way: read into it, then call [`decode`](Self::decode).
    /// Only to be used after `decode` took all it could (there is nothing unused before it).
    pub(super) fn body(&mut self) -> Option<Limit<&mut Vec<u8>>> {
        match &mut self.state {
            State::Body { bytes, total } => {
                let left = *total - bytes.len();
                Some(bytes.limit(left))
            }
            _ => None,
        }
    }

    /// How many bytes of an unfinished long or nested reply are here, and how many there are at least. One that is
    /// stepped over arrives as well as one that is kept.
    pub(super) fn progress(&self) -> Option<(usize, usize)> {
        let (here, total) = match &self.state {
            State::Body { bytes, total } => (bytes.len(), *total),
            State::Skip(skip) => skip.progress(),
            State::Header if self.nested.is_empty() => return None,
            State::Header => (0, 0),
        };
        Some((self.passed + here, self.passed + total))
    }

    /// Gives up the long or nested reply that is on its way: its memory at once, its bytes as they come. A push on its
    /// way is no reply, and stays.
    pub(super) fn discard(&mut self) {
        if self.nested.is_push() {
            return;
        }
        let (begun, left, here) = match &self.state {
            State::Body { bytes, total } => (true, *total - bytes.len(), bytes.len()),
            State::Header if !self.nested.is_empty() => (false, 0, 0),
            // Stepped over already, or with the next element.
            State::Header | State::Skip(_) => return,
        };
        let passed = mem::take(&mut self.passed) + here;
        self.state = State::Skip(self.nested.give_up(begun, left, passed, "discarded reply"));
    }

    /// Whether the stream is between two replies (a close here loses nothing).
    pub(super) fn at_rest(&self) -> bool {
        matches!(self.state, State::Header) && self.nested.is_empty()
    }

    /// Goes on with a long string, or with what is stepped over.
    fn go_on(&mut self, input: &[u8], pos: &mut usize) -> Result<Parsed, ProtocolError> {
        match &mut self.state {
            State::Header => Ok(Parsed::Begun),
            State::Body { bytes, total } => {
                let take = (*total - bytes.len()).min(input.len() - *pos);
                bytes.extend_from_slice(&input[*pos..*pos + take]);
                *pos += take;
                if bytes.len() < *total {
                    return Ok(Parsed::Unfinished);
                }
                let mut value = mem::take(bytes);
                self.behind(value.len());
                self.state = State::Header;
                if !value.ends_with(b"\r\n") {
                    return Err(bad_end());
                }
                value.truncate(value.len() - 2);
                Ok(Parsed::Reply(Reply::Value(value.into())))
            }
            State::Skip(skip) => {
                if !skip.advance(input, pos, &mut self.scanned)? {
                    return Ok(Parsed::Unfinished);
                }
                let (instead, (passed, _)) = (skip.instead, skip.progress());
                self.behind(passed);
                self.state = State::Header;
                Ok(instead.map_or(Parsed::Begun, |kind| Parsed::Reply(Reply::Unexpected(kind))))
            }
        }
    }

    /// So many bytes of what is on its way are behind.
    fn behind(&mut self, bytes: usize) {
        if !self.nested.is_empty() {
            self.passed += bytes;
        }
    }

    /// One header line and, for short strings, the string.
    #[inline(always)]
    fn header(&mut self, input: &[u8], pos: &mut usize) -> Result<Parsed, ProtocolError> {
        let rest = &input[*pos..];
        let Some(line) = line(rest, &mut self.scanned)? else { return Ok(Parsed::Unfinished) };
        let after = line.len() + 2;
        let Some((&kind, text)) = line.split_first() else { return Err(ProtocolError("an empty line".into())) };
        let mut used = after;
        let parsed = match kind {
            b'$' | b'=' => match bulk_length(text)? {
                None => Parsed::Reply(Reply::Nil),
                Some(len) => {
                    if let Some(skip) = self.nested.string(len, self.passed)? {
                        self.step_over(skip)
                    } else if let Some(value) = rest[after..].get(..len + 2) {
                        if !value.ends_with(b"\r\n") {
                            return Err(bad_end());
                        }
                        used += len + 2;
                        Parsed::Reply(Reply::Value(Bytes::copy_from_slice(&value[..len])))
                    } else if len > COPY_LIMIT {
                        let mut bytes = Vec::new();
                        // Reserved, not touched: the system gives memory as bytes come, not for a header alone.
                        let room = bytes.try_reserve_exact(len + 2);
                        room.map_err(|e| ProtocolError(format!("a string of {len}: {e}")))?;
                        self.state = State::Body { bytes, total: len + 2 };
                        Parsed::Begun
                    } else {
                        return Ok(Parsed::Unfinished);
                    }
                }
            },
            b'+' => Parsed::Reply(Reply::Status(String::from_utf8_lossy(text).into())),
            b'-' => Parsed::Reply(Reply::Error(String::from_utf8_lossy(text).into())),
            b':' => Parsed::Reply(Reply::Integer(number(text)?)),
            b'_' => Parsed::Reply(Reply::Nil),
            b',' => Parsed::Reply(Reply::Unexpected("double")),
            b'#' => Parsed::Reply(Reply::Unexpected("boolean")),
            b'(' => Parsed::Reply(Reply::Unexpected("big number")),
            b'>' if self.nested.is_empty() && !self.pushes => self.step_over(Skip::nested(kind, text)?),
            b'*' | b'%' | b'~' | b'>' => match self.nested.open(kind, text, self.passed)? {
                Opened::Elements => Parsed::Begun,
                Opened::Whole(reply) => Parsed::Reply(reply),
                Opened::TooLarge(skip) => self.step_over(skip),
            },
            _ => self.step_over(Skip::nested(kind, text)?),
        };
        *pos += used;
        self.behind(used);
        Ok(parsed)
    }

    fn step_over(&mut self, skip: Skip) -> Parsed {
        if self.nested.is_empty() {
            self.passed = 0;
        }
        self.state = State::Skip(skip);
        Parsed::Begun
    }
}

/// What one step of the decoder came to.
enum Parsed {
    /// A reply, or an element of one, is whole.
    Reply(Reply),
    /// Another step is to be made.
    Begun,
    /// More bytes are needed.
    Unfinished,
}

/// The line at the front of `input`, without its end; `scanned` remembers how far an unfinished one was searched.
#[inline]
pub(super) fn line<'a>(input: &'a [u8], scanned: &mut usize) -> Result<Option<&'a [u8]>, ProtocolError> {
    let from = (*scanned).min(input.len());
    match input[from..].iter().position(|&b| b == b'\r').map(|n| from + n) {
        Some(end) => match input.get(end + 1) {
            Some(b'\n') => {
                *scanned = 0;
                Ok(Some(&input[..end]))
            }
            Some(_) => Err(ProtocolError("a carriage return inside a line".into())),
            None => {
                may_begin(input)?;
                *scanned = end;
                Ok(None)
            }
        },
        None if input.len() >= MAX_LINE => Err(ProtocolError(format!("a line of more than {MAX_LINE} bytes"))),
        None => {
            may_begin(input)?;
            *scanned = input.len();
            Ok(None)
        }
    }
}

/// What cannot begin a reply need not be waited for.
fn may_begin(line: &[u8]) -> Result<(), ProtocolError> {
    match line.first() {
        Some(kind) if !b"$+-:_*,#(%~>|=!".contains(kind) => Err(unknown_kind(*kind)),
        _ => Ok(()),
    }
}

/// The length of a string; `None` for nil.
pub(super) fn bulk_length(text: &[u8]) -> Result<Option<usize>, ProtocolError> {
    match number(text)? {
        -1 => Ok(None),
        n => match usize::try_from(n) {
            Ok(n) if n <= MAX_BULK => Ok(Some(n)),
            _ => Err(ProtocolError(format!("a string of {n} bytes; at most {MAX_BULK} are taken"))),
        },
    }
}

/// How many elements an aggregate has; `None` for nil.
pub(super) fn count(text: &[u8]) -> Result<Option<u32>, ProtocolError> {
    match number(text)? {
        -1 => Ok(None),
        n => u32::try_from(n).map(Some).map_err(|_| ProtocolError(format!("{n} elements"))),
    }
}

/// A signed decimal number.
#[inline]
pub(super) fn number(text: &[u8]) -> Result<i64, ProtocolError> {
    let bad = || ProtocolError(format!("not a number: {}", text.escape_ascii()));
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return Err(bad());
    }
    let mut n: i64 = 0;
    for &d in digits {
        let d = i64::from(d.wrapping_sub(b'0'));
        // Downwards, because the smallest number has no positive twin.
        let next = if d < 10 { n.checked_mul(10).and_then(|n| n.checked_sub(d)) } else { None };
        n = next.ok_or_else(bad)?;
    }
    if negative { Ok(n) } else { n.checked_neg().ok_or_else(bad) }
}

pub(super) fn unknown_kind(kind: u8) -> ProtocolError {
    ProtocolError(format!("a reply that begins with '{}'", kind.escape_ascii()))
}

pub(super) fn bad_end() -> ProtocolError {
    ProtocolError("a string that is longer than its length says".into())
}
