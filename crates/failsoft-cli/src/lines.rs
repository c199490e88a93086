//! Lines of a stream as keys: what has come, a bounded number of them at a time.

use std::io::{self, BufRead};

/// How many bytes of keys are taken together, but for one key that is longer.
const BYTES: usize = 16 * 1024 * 1024;

/// Takes keys from a stream. A line is one, byte for byte; empty lines are skipped.
pub(crate) struct Lines<R> {
    source: R,
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
    /// The longest line.
    longest: usize,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(source: R, longest: usize) -> Self {
        Self { source, begun: Vec::new(), longest }
    }

    /// Waits until there is a key, and gives the keys that have come by then, at most `most`. None at the end.
    ///
    /// # Errors
    /// Those of the stream, and one for a line that is too long.
    pub(crate) fn take(&mut self, most: usize) -> io::Result<Vec<Vec<u8>>> {
        let (mut keys, mut bytes) = (Vec::new(), 0);
        while keys.len() < most && bytes < BYTES {
            let buffered = self.source.fill_buf()?;
            let end = buffered.iter().position(|&byte| byte == b'\n');
            let part = &buffered[..end.unwrap_or(buffered.len())];
            if self.begun.len() + part.len() > self.longest {
                let problem = format!("a line is longer than {} bytes", self.longest);
                return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
            }
            self.begun.extend_from_slice(part);
            let (length, ended) = (part.len(), buffered.is_empty());
            self.source.consume(length + usize::from(end.is_some()));
            if (end.is_some() || ended) && !self.begun.is_empty() {
                bytes += self.begun.len();
                keys.push(std::mem::take(&mut self.begun));
            }
            // More would have to be waited for, which these keys should not.
            if ended || end.is_none() && !keys.is_empty() {
                break;
            }
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Read};

    /// Gives one part for each read.
    struct Parts(Vec<&'static [u8]>);

    impl Read for Parts {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let part = self.0.remove(0);
            buffer[..part.len()].copy_from_slice(part);
            Ok(part.len())
        }
    }

    fn all(parts: &[&'static [u8]], most: usize, longest: usize) -> io::Result<Vec<Vec<Vec<u8>>>> {
        let mut lines = Lines::new(BufReader::with_capacity(64, Parts(parts.to_vec())), longest);
        let mut all = Vec::new();
        loop {
            match lines.take(most)? {
                keys if keys.is_empty() => return Ok(all),
                keys => all.push(keys),
            }
        }
    }

    #[test]
    fn keys_are_the_lines_byte_for_byte() {
        let keys = all(&[b"a\n\n\xff \r\nlast"], 10, 10).expect("lines");
        assert_eq!(keys.concat(), [&b"a"[..], b"\xff \r", b"last"]);
        assert!(all(&[b"\n\n"], 10, 10).expect("lines").is_empty());
    }

    #[test]
    fn a_line_may_come_in_parts() {
        assert_eq!(all(&[b"a", b"b", b"c\nd", b"\n"], 10, 10).expect("lines"), [[b"abc".to_vec()], [b"d".to_vec()]]);
    }

    #[test]
    fn what_has_come_waits_for_nothing() {
        let keys = all(&[b"a\nb\nc", b"\nd\n"], 10, 10).expect("lines");
        assert_eq!(keys, [[b"a".to_vec(), b"b".to_vec()], [b"c".to_vec(), b"d".to_vec()]]);
    }

    #[test]
    fn there_are_no_more_than_were_asked_for() {
        let keys = all(&[b"a\nb\nc\n"], 2, 10).expect("lines");
        assert_eq!(keys, [vec![b"a".to_vec(), b"b".to_vec()], vec![b"c".to_vec()]]);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        assert!(all(&[b"12", b"34\n"], 10, 4).is_ok());
        let refused = all(&[b"12", b"345"], 10, 4).expect_err("too long");
        assert!(refused.to_string().contains("longer than 4 bytes"), "{refused}");
    }
}
