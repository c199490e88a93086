//! Wrong behaviours, each at one place, to show that the conformance suite can fail.
//!
//! Without the feature `mutants` nothing of this is compiled in but a constant `false`.

use crate::words::words;

words! {
    /// A wrong behaviour.
    Mutant {
        /// ASK is followed as if it were MOVED.
        AskUpdatesTheMap = "ask_updates_the_map",
        /// MOVED leaves the map as it is.
        MovedIsNotPatched = "moved_is_not_patched",
        /// MOVED asks for no view.
        MovedRefreshesNothing = "moved_refreshes_nothing",
        /// `max_redirects` bounds nothing.
        RedirectsUnlimited = "redirects_unlimited",
        /// A replica's nil counts as a confirmed miss.
        ReplicaNilIsAMiss = "replica_nil_is_a_miss",
        /// A replica may be of any age.
        AnyReplicaIsFresh = "any_replica_is_fresh",
        /// After a timeout no view is asked for.
        TimeoutRefreshesNothing = "timeout_refreshes_nothing",
        /// A failure does not close the node to other reads.
        FailureOpensNoBreaker = "failure_opens_no_breaker",
        /// LOADING is asked again on the same node.
        LoadingIsRetried = "loading_is_retried",
        /// WRONGTYPE is taken for trouble of the node.
        WrongTypeIsTrouble = "wrong_type_is_trouble",
        /// A claim with a lower epoch replaces one with a higher epoch.
        LowerEpochWins = "lower_epoch_wins",
        /// A node in trouble returns on its own word.
        NoWitnessIsNeeded = "no_witness_is_needed",
        /// A value is written back although no primary confirmed the miss.
        FillWithoutAMiss = "fill_without_a_miss",
        /// A fill that found a value counts as written.
        ExistsIsWritten = "exists_is_written",
        /// A node voted into the minority goes on getting reads and writes.
        MinorityIsNotQuarantined = "minority_is_not_quarantined",
        /// A primary that a node can't reach counts as reached.
        SuspectedCountsAsReached = "suspected_counts_as_reached",
        /// `cluster_state:fail` alone counts as a minority.
        DownIsAPartition = "down_is_a_partition",
        /// A single ballot makes a verdict.
        OneBallotSuffices = "one_ballot_suffices",
        /// A node in quarantine stays there.
        QuarantineNeverEnds = "quarantine_never_ends",
        /// Fills go on although it is not known who is in the majority.
        DoubtLetsFillsThrough = "doubt_lets_fills_through",
        /// A promoted replica is written to before it is proved.
        PromotionNeedsNoProof = "promotion_needs_no_proof",
        /// Each caller runs its own callback.
        LoadPerCaller = "load_per_caller",
        /// A load runs on when nobody waits for it.
        AbandonedLoadsRunOn = "abandoned_loads_run_on",
        /// A callback that asks for its own key waits for itself.
        CirclesAreNotSeen = "circles_are_not_seen",
    }
}

#[cfg(feature = "mutants")]
mod chosen {
    use super::Mutant;
    use core::sync::atomic::{AtomicU8, Ordering};

    /// One more than the number of the mutant in force; 0 for none.
    static CHOSEN: AtomicU8 = AtomicU8::new(0);

    /// From now on the policy of this process is wrong in this way.
    pub fn choose(mutant: Mutant) {
        CHOSEN.store(mutant as u8 + 1, Ordering::Relaxed);
    }

    pub(crate) fn is(mutant: Mutant) -> bool {
        CHOSEN.load(Ordering::Relaxed) == mutant as u8 + 1
    }
}

#[cfg(feature = "mutants")]
pub use chosen::choose;
#[cfg(feature = "mutants")]
pub(crate) use chosen::is;

#[cfg(not(feature = "mutants"))]
pub(crate) const fn is(_: Mutant) -> bool {
    false
}
