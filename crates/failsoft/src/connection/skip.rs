//! Steps over what a lane does not want: pushes without a taker, attributes, replies that no request waits for.

use super::nested::MAX_DEPTH;
use super::resp::{ProtocolError, bad_end, bulk_length, count, line, unknown_kind};

/// Something being stepped over.
#[derive(Debug)]
pub(super) struct Skip {
    /// What stands in its place: the name of its kind, or nothing.
    pub(super) instead: Option<&'static str>,
    /// Elements still to come, outermost first.
    levels: Vec<u64>,
    /// Bytes of a string still to come, its `\r\n` counted.
    string: usize,
    /// Bytes that are behind, those that came before it was given up included.
    passed: usize,
}

impl Skip {
    /// Everything under this header. Errors when the kind is none, or its count is no number.
    pub(super) fn nested(kind: u8, text: &[u8]) -> Result<Self, ProtocolError> {
        let instead = match kind {
            b'!' => Some("blob error"),
            b'>' | b'|' => None,
            _ => return Err(unknown_kind(kind)),
        };
        let mut skip = Self { instead, levels: Vec::new(), string: 0, passed: 0 };
        skip.element(kind, text)?;
        skip.leave_finished();
        Ok(skip)
    }

    /// The rest of a reply of which `passed` bytes are here: `string` bytes of a string, then so many elements of each
    /// level, outermost first.
    pub(super) fn rest(levels: Vec<u64>, string: usize, passed: usize, instead: &'static str) -> Self {
        let mut skip = Self { instead: Some(instead), levels, string, passed };
        skip.leave_finished();
        skip
    }

    /// So many elements come before what was to come.
    pub(super) fn add(&mut self, elements: Option<usize>) {
        self.levels.extend(elements.map(|n| n as u64));
    }

    /// How many bytes are behind, and how many there are at least.
    pub(super) fn progress(&self) -> (usize, usize) {
        (self.passed, self.passed + self.string)
    }

    /// Steps forward; true when all of it is behind.
    pub(super) fn advance(
        &mut self,
        input: &[u8],
        pos: &mut usize,
        scanned: &mut usize,
    ) -> Result<bool, ProtocolError> {
        loop {
            let rest = &input[*pos..];
            if self.string > 0 {
                // The last two bytes are looked at, the others are not.
                let take = match self.string {
                    2 => {
                        if rest.first().is_some_and(|b| *b != b'\r') {
                            return Err(bad_end());
                        }
                        1
                    }
                    1 => {
                        if rest.first().is_some_and(|b| *b != b'\n') {
                            return Err(bad_end());
                        }
                        1
                    }
                    more => more - 2,
                };
                let take = take.min(rest.len());
                if take == 0 {
                    return Ok(false);
                }
                self.string -= take;
                self.passed += take;
                *pos += take;
                continue;
            }
            let Some(level) = self.levels.last_mut() else { return Ok(true) };
            let Some(line) = line(rest, scanned)? else { return Ok(false) };
            let Some((&kind, text)) = line.split_first() else { return Err(ProtocolError("an empty line".into())) };
            if kind != b'|' {
                // An attribute goes before an element and is none.
                *level -= 1;
            }
            self.element(kind, text)?;
            self.passed += line.len() + 2;
            *pos += line.len() + 2;
            self.leave_finished();
        }
    }

    fn element(&mut self, kind: u8, text: &[u8]) -> Result<(), ProtocolError> {
        let each = match kind {
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => return Ok(()),
            b'$' | b'=' | b'!' => {
                self.string = bulk_length(text)?.map_or(0, |n| n + 2);
                return Ok(());
            }
            b'*' | b'~' | b'>' => 1,
            b'%' | b'|' => 2,
            _ => return Err(unknown_kind(kind)),
        };
        if self.levels.len() == MAX_DEPTH {
            return Err(ProtocolError(format!("nested deeper than {MAX_DEPTH}")));
        }
        self.levels.extend(count(text)?.map(|n| u64::from(n) * each));
        Ok(())
    }

    fn leave_finished(&mut self) {
        while self.levels.last() == Some(&0) {
            self.levels.pop();
        }
    }
}
