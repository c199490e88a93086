//! Requests that wait to be sent: short ones share a buffer, a long one has its own, made before the lane's lock.

use std::collections::VecDeque;

/// A request that is longer is encoded outside the lane's lock, and queued without a copy under it.
pub(super) const LONG_REQUEST: usize = 64 * 1024;
/// A shared buffer that grew beyond this is given back after use.
const KEEP_BUFFER: usize = 256 * 1024;

/// Bytes in the order in which they are to be written.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Complete parts, before the tail.
    parts: VecDeque<Vec<u8>>,
    /// How many bytes they are together.
    parts_len: usize,
    /// Short requests, appended one after the other.
    tail: Vec<u8>,
    /// How much of the first part, or else of the tail, was written.
    written: usize,
}

impl Outbox {
    /// Where short requests are appended.
    #[inline]
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Queues a long request behind all that is there.
    pub(super) fn push(&mut self, request: Vec<u8>) {
        if !self.tail.is_empty() {
            let tail = std::mem::take(&mut self.tail);
            self.part(tail);
        }
        self.part(request);
    }

    fn part(&mut self, part: Vec<u8>) {
        self.parts_len += part.len();
        self.parts.push_back(part);
    }

    /// Leaves out requests: for each one in order its bytes, and whether it stays. Nothing was written yet.
    pub(super) fn cut(&mut self, requests: &[(usize, bool)]) {
        debug_assert_eq!(requests.iter().map(|(bytes, _)| bytes).sum::<usize>(), self.len());
        let mut left = std::mem::take(self);
        for &(mut bytes, stays) in requests {
            // A request lies in one part, or in the tail.
            while bytes > 0 {
                let here = left.next();
                let n = bytes.min(here.len());
                if n == 0 {
                    return;
                }
                if stays {
                    self.tail.extend_from_slice(&here[..n]);
                }
                left.wrote(n);
                bytes -= n;
            }
        }
    }

    /// Bytes held. A part that is being written counts as long as it is held.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.parts_len + self.tail.len()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is to be written next; nothing only at the end.
    #[inline]
    pub(super) fn next(&self) -> &[u8] {
        &self.parts.front().unwrap_or(&self.tail)[self.written..]
    }

    /// `n` bytes of [`next`](Self::next) were written.
    #[inline]
    pub(super) fn wrote(&mut self, n: usize) {
        self.written += n;
        let first = self.parts.front().unwrap_or(&self.tail);
        if self.written < first.len() {
            return;
        }
        self.written = 0;
        if let Some(part) = self.parts.pop_front() {
            self.parts_len -= part.len();
        } else {
            self.tail.clear();
            self.tail.shrink_to(KEEP_BUFFER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_is_not_sent() {
        let mut out = Outbox::default();
        out.tail().extend_from_slice(b"1,");
        out.tail().extend_from_slice(b"2,");
        out.push(b"[3]".to_vec());
        out.push(b"[4]".to_vec());
        out.tail().extend_from_slice(b"5");
        out.cut(&[(2, false), (2, true), (3, false), (3, true), (1, true)]);
        let mut sent = Vec::new();
        while !out.is_empty() {
            let n = out.next().len();
            sent.extend_from_slice(out.next());
            out.wrote(n);
        }
        assert_eq!(sent, b"2,[4]5");
    }

    #[test]
    fn everything_leaves_in_order_whatever_the_writes() {
        for step in [1, 2, 3, 100] {
            let mut out = Outbox::default();
            out.push(b"[1]".to_vec());
            out.tail().extend_from_slice(b"2,");
            out.tail().extend_from_slice(b"3,");
            out.push(b"[4]".to_vec());
            out.push(b"[5]".to_vec());
            out.tail().extend_from_slice(b"6");
            assert_eq!(out.len(), 14);
            let mut sent = Vec::new();
            while !out.is_empty() {
                let n = out.next().len().min(step);
                sent.extend_from_slice(&out.next()[..n]);
                out.wrote(n);
            }
            assert_eq!(sent, b"[1]2,3,[4][5]6");
            assert!(out.next().is_empty());
        }
    }
}
