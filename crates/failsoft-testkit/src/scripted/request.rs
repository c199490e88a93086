//! Requests off the wire: arrays of bulk strings, nothing else (RESP specification, "Sending
//! commands to a Redis server").

use bytes::{Buf as _, Bytes, BytesMut};

/// What real servers allow, too (`proto-max-bulk-len`, and the multibulk limit).
const MAX_ARGUMENT: usize = 512 << 20;
const MAX_ARGUMENTS: usize = 1 << 20;
/// A header is a mark, at most ten digits and a line end.
const MAX_HEADER: usize = 16;

/// Bytes that no client of a server may send.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Takes the next whole command off the buffer; nothing if it is not complete yet.
pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Vec<Bytes>>, Malformed> {
    let Some((count, mut at)) = header(buffer, 0, b'*', MAX_ARGUMENTS)? else { return Ok(None) };
    let mut spans = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        let Some((length, start)) = header(buffer, at, b'$', MAX_ARGUMENT)? else { return Ok(None) };
        at = start + length + 2;
        if buffer.len() < at {
            buffer.reserve(at - buffer.len());
            return Ok(None);
        }
        if &buffer[at - 2..at] != b"\r\n" {
            return Err(Malformed);
        }
        spans.push(start..start + length);
    }
    let command = Bytes::copy_from_slice(&buffer[..at]);
    buffer.advance(at);
    Ok(Some(spans.into_iter().map(|span| command.slice(span)).collect()))
}

/// The number in `mark digits CR LF` at a position, and where the next thing begins.
fn header(buffer: &[u8], at: usize, mark: u8, max: usize) -> Result<Option<(usize, usize)>, Malformed> {
    let rest = &buffer[at.min(buffer.len())..];
    match rest.first() {
        None => return Ok(None),
        Some(&first) if first != mark => return Err(Malformed),
        Some(_) => {}
    }
    let Some(end) = rest.iter().take(MAX_HEADER).position(|&byte| byte == b'\n') else {
        return if rest.len() < MAX_HEADER { Ok(None) } else { Err(Malformed) };
    };
    let digits = rest[1..end].strip_suffix(b"\r").ok_or(Malformed)?;
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or(Malformed)?;
    if number > max { Err(Malformed) } else { Ok(Some((number, at + end + 1))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_in_pieces_and_in_a_row() {
        let wire = b"*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n";
        let mut buffer = BytesMut::new();
        let mut commands = Vec::new();
        for byte in wire {
            buffer.extend_from_slice(&[*byte]);
            commands.extend(take(&mut buffer).unwrap());
        }
        let expected: [&[&[u8]]; 3] = [&[b"GET", b"a\r\nb"], &[b"PING"], &[b"GET", b""]];
        assert_eq!(
            commands,
            expected.map(|words| words.iter().map(|word| Bytes::copy_from_slice(word)).collect::<Vec<_>>())
        );
        assert!(buffer.is_empty());
    }

    #[test]
    fn what_is_no_command() {
        for wire in [
            "PING\r\n",
            "*x\r\n",
            "*-1\r\n",
            "*1\n",
            "*1\r\n:3\r\n",
            "*1\r\n$2\r\nabcd\r\n",
            "*99999999999999999",
            "*1\r\n$536870913\r\n",
        ] {
            assert_eq!(take(&mut BytesMut::from(wire)), Err(Malformed), "{wire:?}");
        }
    }
}
