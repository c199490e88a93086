//! Replies from bytes, without I/O: RESP2 and RESP3 (RESP specification, "RESP protocol description").
//!
//! A lane asks for values, so strings are decoded and everything nested is skipped in step.
//! Limits: 512 MiB for one string (the servers' own `proto-max-bulk-len`), 64 KiB for one line,
//! 32 levels of nesting, 2^32 - 1 elements. RESP3's streamed types (`$?`, `*?`) are refused: no server sends them.

use super::skip::Skip;
use bytes::buf::Limit;
use bytes::{BufMut, Bytes};

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
    /// A string.
    Value(Bytes),
    /// Nothing there.
    Nil,
    /// A status line, such as `OK`.
    Status(Box<str>),
    /// A number.
    Integer(i64),
    /// An error line, without the leading `-`.
    Error(Box<str>),
    /// A well-formed reply of a kind that answers no request of ours: the name of the kind.
    Unexpected(&'static str),
}

/// What makes a stream no RESP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProtocolError(pub(super) String);

/// Splits a stream into replies. Pushes and attributes are skipped.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    state: State,
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
    /// Takes the next reply from `input`, starting at `pos`, and moves `pos` behind what was used.
    /// `None` when more bytes are needed: those not used must be there again next time.
    ///
    /// # Errors
    /// The bytes are no RESP, or over a limit; the stream cannot be used any more.
    #[inline]
    pub(super) fn decode(&mut self, input: &[u8], pos: &mut usize) -> Result<Option<Reply>, ProtocolError> {
        loop {
            match &mut self.state {
                State::Header => {
                    if let Some(reply) = self.header(input, pos)? {
                        return Ok(Some(reply));
                    }
                    if matches!(self.state, State::Header) {
                        return Ok(None);
                    }
                }
                State::Body { bytes, total } => {
                    let take = (*total - bytes.len()).min(input.len() - *pos);
                    bytes.extend_from_slice(&input[*pos..*pos + take]);
                    *pos += take;
                    if bytes.len() < *total {
                        return Ok(None);
                    }
                    let mut value = std::mem::take(bytes);
                    self.state = State::Header;
                    if !value.ends_with(b"\r\n") {
                        return Err(bad_end());
                    }
                    value.truncate(value.len() - 2);
                    return Ok(Some(Reply::Value(value.into())));
                }
                State::Skip(skip) => {
                    if !skip.advance(input, pos, &mut self.scanned)? {
                        return Ok(None);
                    }
                    let instead = skip.instead;
                    self.state = State::Header;
                    if let Some(kind) = instead {
                        return Ok(Some(Reply::Unexpected(kind)));
                    }
                }
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

    /// How many bytes of an unfinished long reply are here, and how many there are at least. One that is stepped over
    /// arrives as well as one that is kept.
    pub(super) fn progress(&self) -> Option<(usize, usize)> {
        match &self.state {
            State::Body { bytes, total } => Some((bytes.len(), *total)),
            State::Skip(skip) => Some(skip.progress()),
            State::Header => None,
        }
    }

    /// Gives up the long string that is on its way: its memory at once, its bytes as they come.
    pub(super) fn discard(&mut self) {
        if let State::Body { bytes, total } = &self.state {
            self.state = State::Skip(Skip::rest_of_bulk(bytes.len(), *total - bytes.len(), "discarded string"));
        }
    }

    /// Whether the stream is between two replies (a close here loses nothing).
    pub(super) fn at_rest(&self) -> bool {
        matches!(self.state, State::Header)
    }

    /// One header line and, for short strings, the string. `None` with another state: go on there.
    #[inline]
    fn header(&mut self, input: &[u8], pos: &mut usize) -> Result<Option<Reply>, ProtocolError> {
        let rest = &input[*pos..];
        let Some(line) = line(rest, &mut self.scanned)? else { return Ok(None) };
        let after = line.len() + 2;
        let Some((&kind, text)) = line.split_first() else { return Err(ProtocolError("an empty line".into())) };
        let reply = match kind {
            b'$' => {
                let Some(len) = bulk_length(text)? else {
                    *pos += after;
                    return Ok(Some(Reply::Nil));
                };
                if let Some(value) = rest[after..].get(..len + 2) {
                    if !value.ends_with(b"\r\n") {
                        return Err(bad_end());
                    }
                    *pos += after + len + 2;
                    return Ok(Some(Reply::Value(Bytes::copy_from_slice(&value[..len]))));
                }
                if len > COPY_LIMIT {
                    let mut bytes = Vec::new();
                    // Reserved, not touched: the system gives memory as bytes come, not for a header alone.
                    bytes.try_reserve_exact(len + 2).map_err(|e| ProtocolError(format!("a string of {len}: {e}")))?;
                    self.state = State::Body { bytes, total: len + 2 };
                    *pos += after;
                }
                return Ok(None);
            }
            b'+' => Reply::Status(String::from_utf8_lossy(text).into()),
            b'-' => Reply::Error(String::from_utf8_lossy(text).into()),
            b':' => Reply::Integer(number(text)?),
            b'_' => Reply::Nil,
            b'*' if text == b"-1" => Reply::Nil,
            b',' => Reply::Unexpected("double"),
            b'#' => Reply::Unexpected("boolean"),
            b'(' => Reply::Unexpected("big number"),
            _ => {
                *pos += after;
                self.state = State::Skip(Skip::nested(kind, text)?);
                return Ok(None);
            }
        };
        *pos += after;
        Ok(Some(reply))
    }
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
