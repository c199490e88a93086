//! Replies onto the wire, in RESP2 or RESP3 (RESP specification).

use bytes::Bytes;

/// A reply being written.
#[derive(Debug, Default)]
pub(super) struct Reply {
    bytes: Vec<u8>,
    resp3: bool,
}

impl Reply {
    pub(super) fn new(resp3: bool) -> Reply {
        Reply { bytes: Vec::new(), resp3 }
    }

    pub(super) fn finish(self) -> Bytes {
        self.bytes.into()
    }

    pub(super) fn simple(self, text: &str) -> Reply {
        self.line('+', text)
    }

    pub(super) fn error(self, text: &str) -> Reply {
        // A line break would end the reply early.
        self.line('-', &text.replace(['\r', '\n'], " "))
    }

    pub(super) fn number(self, number: impl Into<i64>) -> Reply {
        self.line(':', &number.into().to_string())
    }

    pub(super) fn bulk(self, value: impl AsRef<[u8]>) -> Reply {
        let value = value.as_ref();
        let mut reply = self.line('$', &value.len().to_string());
        reply.bytes.extend_from_slice(value);
        reply.bytes.extend_from_slice(b"\r\n");
        reply
    }

    pub(super) fn nil(self) -> Reply {
        if self.resp3 { self.line('_', "") } else { self.line('$', "-1") }
    }

    /// The header of a push.
    pub(super) fn push(self, length: usize) -> Reply {
        self.line('>', &length.to_string())
    }

    pub(super) fn array(self, length: usize) -> Reply {
        self.line('*', &length.to_string())
    }

    /// The header of a map; in RESP2 an array of keys and values in turn.
    pub(super) fn map(self, entries: usize) -> Reply {
        if self.resp3 { self.line('%', &entries.to_string()) } else { self.array(entries * 2) }
    }

    /// Long text, as INFO and CLUSTER NODES give it.
    pub(super) fn text(self, text: &str) -> Reply {
        if !self.resp3 {
            return self.bulk(text);
        }
        let mut reply = self.line('=', &(text.len() + 4).to_string());
        reply.bytes.extend_from_slice(format!("txt:{text}\r\n").as_bytes());
        reply
    }

    fn line(mut self, mark: char, text: &str) -> Reply {
        self.bytes.extend_from_slice(format!("{mark}{text}\r\n").as_bytes());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_protocols() {
        let write = |resp3| {
            let reply = Reply::new(resp3).map(1).bulk("a").nil().text("x\n").array(1).number(-3).error("ERR a\r\nb");
            String::from_utf8(reply.finish().to_vec()).unwrap()
        };
        assert_eq!(write(false), "*2\r\n$1\r\na\r\n$-1\r\n$2\r\nx\n\r\n*1\r\n:-3\r\n-ERR a  b\r\n");
        assert_eq!(write(true), "%1\r\n$1\r\na\r\n_\r\n=6\r\ntxt:x\n\r\n*1\r\n:-3\r\n-ERR a  b\r\n");
    }
}
