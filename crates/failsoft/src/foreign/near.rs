//! Reads that a near copy ends on their caller's own thread: without a token, a task and a completion.

use super::Foreign;
use crate::account::ReadEnd;
use crate::error::Error;
use crate::outcome::Outcome;
use crate::reads::{self, ReadOptions};
use crate::router::{Router, check_recompute, check_string, check_ttl};
use bytes::Bytes;

impl Foreign {
    /// Whether there is a near cache to be asked.
    pub fn has_near(&self) -> bool {
        self.router.as_ref().is_some_and(|router| router.shared().generations.is_some())
    }

    /// The value of a key, if a near copy of it serves now. If none does, nothing has been done: the key is to be read by
    /// [`get`](Self::get), with the same options.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    #[inline]
    pub fn near(&self, key: &[u8], options: &ReadOptions, ask: bool) -> Result<Option<Bytes>, Error> {
        let router = self.router_for(key, options, ask)?;
        match reads::near(router.shared(), key, options) {
            Some(hit) => ReadEnd::Near(hit).into_value(router.shared()),
            None => Ok(None),
        }
    }

    /// The same with the account of how, instead of [`resolve`](Self::resolve).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    #[inline]
    pub fn near_outcome(&self, key: &[u8], options: &ReadOptions, ask: bool) -> Result<Option<Outcome>, Error> {
        let router = self.router_for(key, options, ask)?;
        let hit = reads::near(router.shared(), key, options);
        hit.map(|hit| ReadEnd::Near(hit).into_outcome(router.shared())).transpose()
    }

    /// The router, if it can read this key with these options.
    pub(super) fn router_for(&self, key: &[u8], options: &ReadOptions, ask: bool) -> Result<&Router, Error> {
        check_string("key", key.len())?;
        check_ttl(options.ttl)?;
        check_recompute(options.recompute, ask)?;
        self.open_router()
    }
}
