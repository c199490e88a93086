//! What callers of the same key share: the loads of callbacks always, and with `coalesce` = `reads` the requests to nodes, too.

use crate::config::Config;
use crate::setting::Choice;
use crate::time::Instant;
use crate::words::words;

words! {
    /// What equal reads under way share.
    Coalesce {
        /// The run of a callback.
        Loads = "loads",
        /// The first request to a node, too.
        Reads = "reads",
    }
}

impl Choice for Coalesce {
    fn all() -> &'static [Self] {
        Self::ALL
    }

    fn word(self) -> &'static str {
        self.as_str()
    }
}

/// Whether a caller waits for a request that another one sent at this time: what the node read then may lack an
/// invalidation that was completed before the caller set out, if it was not heard, but none that is older than
/// `trust_window`.
pub fn joins(config: &Config, sent_at: Instant, now: Instant) -> bool {
    now < sent_at + config.trust_window()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_a_request_that_is_older_than_the_trust_window() {
        let (config, at) = (Config::default(), Instant::from_millis);
        assert!(joins(&config, at(5_000), at(5_999)) && !joins(&config, at(5_000), at(6_000)));
    }
}
