//! A value for every slot, kept as runs of neighbouring slots that share one.
//!
//! Slots are owned in long ranges: a map of a thousand primaries is a thousand runs, and a view is
//! held against it in as many steps, not in 16,384.

use crate::words::Slot;
use alloc::vec::Vec;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Runs<T> {
    /// The first slot of each run, ascending from 0, and its value; neighbours differ.
    runs: Vec<(u16, T)>,
}

impl<T: Copy + PartialEq> Runs<T> {
    /// The same value for all slots.
    pub(crate) fn all(value: T) -> Self {
        Self { runs: Vec::from([(0, value)]) }
    }

    /// The value of a slot.
    pub(crate) fn get(&self, slot: Slot) -> T {
        let after = self.runs.partition_point(|&(first, _)| first <= slot.number());
        self.runs[after - 1].1 // the first run begins at 0
    }

    /// The runs in order: first slot, last slot, value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, u16, T)> {
        let ends = self.runs.iter().skip(1).map(|&(first, _)| first - 1).chain([Slot::COUNT - 1]);
        self.runs.iter().zip(ends).map(|(&(first, value), last)| (first, last, value))
    }

    /// Changes the value of one slot.
    pub(crate) fn set(&mut self, slot: Slot, value: T) {
        let one = Runs::build(&[(slot.number(), slot.number(), value)]);
        self.change(&one, |old, new| new.unwrap_or(old));
    }

    /// Changes every value by that of `other` for the same slot.
    pub(crate) fn change<U: Copy + PartialEq>(&mut self, other: &Runs<U>, mut change: impl FnMut(T, U) -> T) {
        let mut changed: Vec<(u16, T)> = Vec::with_capacity(self.runs.len().max(other.runs.len()));
        let (mut ours, mut theirs, mut at) = (0, 0, 0);
        loop {
            let value = change(self.runs[ours].1, other.runs[theirs].1);
            if changed.last().is_none_or(|&(_, v)| v != value) {
                changed.push((at, value));
            }
            let next = |runs: Option<u16>| runs.unwrap_or(Slot::COUNT);
            let our_next = next(self.runs.get(ours + 1).map(|r| r.0));
            let their_next = next(other.runs.get(theirs + 1).map(|r| r.0));
            at = our_next.min(their_next);
            if at == Slot::COUNT {
                break;
            }
            ours += usize::from(our_next == at);
            theirs += usize::from(their_next == at);
        }
        self.runs = changed;
    }
}

impl<T: Copy + PartialEq> Runs<Option<T>> {
    /// Of values for ranges of slots (first, last), and none elsewhere. Where ranges overlap, `better`
    /// says whether the later one (its second argument) replaces the earlier one.
    pub(crate) fn of(mut ranges: Vec<(u16, u16, T)>, better: impl Fn(T, T) -> bool) -> Self {
        ranges.retain(|&(first, last, _)| first <= last && last < Slot::COUNT);
        let ascends = |ranges: &[(u16, u16, T)]| ranges.windows(2).all(|pair| pair[0].1 < pair[1].0);
        let given = ascends(&ranges);
        let mut sorted = if given { Vec::new() } else { ranges.clone() };
        sorted.sort_by_key(|r| r.0);
        let ordered = if given { &ranges } else { &sorted };
        if !given && !ascends(ordered) {
            let mut all = Self::all(None);
            for (first, last, value) in ranges {
                let one = Self::build(&[(first, last, value)]);
                all.change(&one, |old, new| match (old, new) {
                    (Some(old), Some(new)) => Some(if better(old, new) { new } else { old }),
                    (old, new) => new.or(old),
                });
            }
            return all;
        }
        Self::build(ordered)
    }

    /// Of ranges that ascend and do not overlap.
    fn build(ranges: &[(u16, u16, T)]) -> Self {
        let mut runs: Vec<(u16, Option<T>)> = Vec::with_capacity(2 * ranges.len() + 1);
        let mut add = |first: u16, value: Option<T>| {
            if runs.last().is_none_or(|&(_, v)| v != value) {
                runs.push((first, value));
            }
        };
        let mut free = 0;
        for &(first, last, value) in ranges {
            if first > free {
                add(free, None);
            }
            add(first, Some(value));
            free = last + 1;
        }
        if free < Slot::COUNT {
            add(free, None);
        }
        Self { runs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(n: u16) -> Slot {
        Slot::new(n).expect("a slot")
    }

    #[test]
    fn ranges_in_any_order_and_the_gaps_between() {
        let runs =
            Runs::of(Vec::from([(100, 199, 'b'), (0, 99, 'a'), (300, 16_383, 'c'), (200, 200, 'b')]), |_, _| true);
        let all: Vec<_> = runs.iter().collect();
        assert_eq!(all, [(0, 99, Some('a')), (100, 200, Some('b')), (201, 299, None), (300, 16_383, Some('c'))]);
        for (n, value) in [(0, Some('a')), (99, Some('a')), (100, Some('b')), (201, None), (16_383, Some('c'))] {
            assert_eq!(runs.get(slot(n)), value, "{n}");
        }
    }

    #[test]
    fn where_ranges_overlap_the_better_one_stays() {
        let runs = Runs::of(Vec::from([(0, 10, 5), (5, 20, 3), (8, 8, 9)]), |old, new| new > old);
        let all: Vec<_> = runs.iter().collect();
        assert_eq!(all, [(0, 7, Some(5)), (8, 8, Some(9)), (9, 10, Some(5)), (11, 20, Some(3)), (21, 16_383, None)]);
    }

    #[test]
    fn what_is_no_range_is_left_out() {
        let none: Runs<Option<u8>> = Runs::of(Vec::from([(9, 8, 1), (0, 16_384, 2)]), |_, _| true);
        assert_eq!(none, Runs::all(None));
    }

    #[test]
    fn a_change_joins_neighbours_that_have_become_equal() {
        let mut runs = Runs::of(Vec::from([(0, 9, 1), (10, 19, 2), (20, 16_383, 3)]), |_, _| true);
        runs.change(
            &Runs::of(Vec::from([(5, 24, ())]), |(), ()| true),
            |old, hit| if hit.is_some() { Some(1) } else { old },
        );
        assert_eq!(runs.iter().collect::<Vec<_>>(), [(0, 24, Some(1)), (25, 16_383, Some(3))]);
    }
}
