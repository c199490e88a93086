//! Replies that hold others, put together element by element: arrays, maps, sets and pushes.
//!
//! Limits: 32 levels, 2^20 elements and 512 MiB of strings in one of them. A reply over a limit is stepped over, so that
//! the stream stays in step; a push over a limit is an error, because nobody would know what was missed.

use super::resp::{Incoming, MAX_BULK, ProtocolError, Reply, count};
use super::skip::Skip;

/// Replies nested deeper are refused.
pub(super) const MAX_DEPTH: usize = 32;
/// The most elements of one reply, those of all its levels together.
pub(super) const MAX_ELEMENTS: usize = 1 << 20;
/// Room for so many elements is made before they come.
const ROOM: usize = 1024;

/// What is here of a nested reply, outermost level first. Empty while none is on its way.
#[derive(Debug, Default)]
pub(super) struct Nested {
    levels: Vec<Level>,
    is_push: bool,
    /// Elements announced, and bytes of the strings that came.
    elements: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Level {
    left: usize,
    items: Vec<Reply>,
}

/// What the header of an aggregate leads to.
pub(super) enum Opened {
    /// Its elements come next.
    Elements,
    /// Nothing more of it comes.
    Whole(Reply),
    /// It is too large: it and all that it stands in are stepped over.
    TooLarge(Skip),
}

impl Nested {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    pub(super) fn is_push(&self) -> bool {
        !self.is_empty() && self.is_push
    }

    /// An aggregate begins. `kind` is `*`, `%`, `~` or `>`, and `text` says how many elements it has; `passed` bytes of
    /// what it stands in are here.
    pub(super) fn open(&mut self, kind: u8, text: &[u8], passed: usize) -> Result<Opened, ProtocolError> {
        if self.levels.len() == MAX_DEPTH {
            return Err(ProtocolError(format!("nested deeper than {MAX_DEPTH}")));
        }
        if self.is_empty() {
            self.is_push = kind == b'>';
        }
        let n = count(text)?.map(|n| n as usize * if kind == b'%' { 2 } else { 1 });
        let n = match n {
            // It has not even a kind.
            None | Some(0) if self.is_empty() && self.is_push => return Ok(Opened::Elements),
            None => return Ok(Opened::Whole(Reply::Nil)),
            Some(0) => return Ok(Opened::Whole(Reply::Array(Vec::new()))),
            Some(n) => n,
        };
        if n > MAX_ELEMENTS - self.elements {
            let what = format!("more than {MAX_ELEMENTS} elements");
            return self.step_over(Some(n), 0, passed, what).map(Opened::TooLarge);
        }
        self.elements += n;
        self.levels.push(Level { left: n, items: Vec::with_capacity(n.min(ROOM)) });
        Ok(Opened::Elements)
    }

    /// A string of `len` bytes begins: what steps over it, and over all that it stands in, if that is too large with it.
    #[inline]
    pub(super) fn string(&mut self, len: usize, passed: usize) -> Result<Option<Skip>, ProtocolError> {
        if self.bytes + len <= MAX_BULK {
            return Ok(None);
        }
        self.step_over(None, len + 2, passed, format!("strings of more than {MAX_BULK} bytes")).map(Some)
    }

    /// The next element is here; what is whole with it, if anything.
    pub(super) fn place(&mut self, mut element: Reply) -> Option<Incoming> {
        if let Reply::Value(value) = &element {
            self.bytes += value.len();
        }
        while let Some(level) = self.levels.last_mut() {
            level.items.push(element);
            level.left -= 1;
            if level.left > 0 {
                return None;
            }
            element = Reply::Array(self.levels.pop().map_or_else(Vec::new, |level| level.items));
        }
        (self.elements, self.bytes) = (0, 0);
        Some(match element {
            Reply::Array(items) if self.is_push => Incoming::Push(items),
            reply => Incoming::Reply(reply),
        })
    }

    /// Gives up what is here: what steps over the rest. If an element has `begun`, `string` bytes of it are to come.
    pub(super) fn give_up(&mut self, begun: bool, string: usize, passed: usize, instead: &'static str) -> Skip {
        let last = self.levels.len().saturating_sub(1);
        // An outer level still counts the one that stands in it.
        let lefts = self.levels.drain(..).enumerate().map(|(i, l)| l.left - usize::from(begun || i < last));
        let skip = Skip::rest(lefts.map(|n| n as u64).collect(), string, passed, instead);
        (self.elements, self.bytes) = (0, 0);
        skip
    }

    fn step_over(
        &mut self,
        elements: Option<usize>,
        string: usize,
        passed: usize,
        what: String,
    ) -> Result<Skip, ProtocolError> {
        if self.is_push {
            return Err(ProtocolError(format!("a push with {what}")));
        }
        let mut skip = self.give_up(true, string, passed, "reply over a limit");
        skip.add(elements);
        Ok(skip)
    }
}
