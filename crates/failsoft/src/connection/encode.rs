//! Requests as bytes: RESP arrays of bulk strings (RESP specification, "Sending commands to a Redis server").

/// `ASKING`, whose `+OK` the lane takes for itself.
const ASKING: &[u8] = b"*1\r\n$6\r\nASKING\r\n";

/// `CLIENT CACHING YES`, whose `+OK` the lane takes for itself.
const CACHING: &[u8] = b"*3\r\n$6\r\nCLIENT\r\n$7\r\nCACHING\r\n$3\r\nYES\r\n";

/// Appends `GET key`, of whose key the node then tells on this connection what happens to it.
pub(super) fn tracked_get(out: &mut Vec<u8>, key: &[u8]) {
    out.extend_from_slice(CACHING);
    get(out, key, false);
}

/// Appends `GET key`, with `ASKING` before it where asked.
pub(super) fn get(out: &mut Vec<u8>, key: &[u8], asking: bool) {
    if asking {
        out.extend_from_slice(ASKING);
    }
    // The frame of a GET never changes: cheaper than the general form on the hot path.
    out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
    bulk(out, key);
}

/// Appends any command, with `ASKING` before it where asked.
pub(super) fn command(out: &mut Vec<u8>, args: &[&[u8]], asking: bool) {
    if asking {
        out.extend_from_slice(ASKING);
    }
    number(out, b'*', args.len());
    for arg in args {
        bulk(out, arg);
    }
}

/// No less than the bytes that [`command`] appends.
pub(super) fn command_length(args: &[&[u8]]) -> usize {
    /// A sign, the longest number, and two line ends.
    const FRAME: usize = 1 + 20 + 4;
    ASKING.len() + FRAME + args.iter().map(|arg| FRAME + arg.len()).sum::<usize>()
}

fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn number(out: &mut Vec<u8>, kind: u8, n: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_get_is_the_same_bytes_either_way() {
        for key in [&b""[..], b"k", b"with \r\n and \0", &[b'x'; 1000]] {
            for asking in [false, true] {
                let (mut short, mut general) = (Vec::new(), Vec::new());
                get(&mut short, key, asking);
                command(&mut general, &[b"GET", key], asking);
                assert_eq!(short, general);
            }
        }
    }

    #[test]
    fn asking_goes_before_the_command() {
        let mut out = Vec::new();
        command(&mut out, &[b"SET", b"k", b""], true);
        assert_eq!(out, b"*1\r\n$6\r\nASKING\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n");
        assert!(out.len() <= command_length(&[b"SET", b"k", b""]));
    }
}
