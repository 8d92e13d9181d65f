//! Which bytes of a blob are there.

use std::{collections::BTreeMap, ops::Range};

/// Disjoint ranges that do not touch each other either.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds a range; returns the one that holds it now.
    pub(crate) fn insert(&mut self, added: Range<u64>) -> Range<u64> {
        let (mut start, mut end) = (added.start, added.end);
        if start >= end {
            return added;
        }
        let touching = self.0.range(..=end).rev().take_while(|(_, e)| **e >= start);
        let touching: Vec<u64> = touching.map(|(s, _)| *s).collect();
        for key in touching {
            let its_end = self.0.remove(&key).unwrap_or(key);
            start = start.min(key);
            end = end.max(its_end);
        }
        self.0.insert(start, end);
        start..end
    }

    /// Takes a whole range out that [`Ranges::insert`] returned.
    pub(crate) fn take(&mut self, whole: &Range<u64>) {
        self.0.remove(&whole.start);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.0.iter().map(|(start, end)| *start..*end)
    }

    /// Bytes before the first gap.
    pub(crate) fn front(&self) -> u64 {
        self.0.get(&0).copied().unwrap_or(0)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.iter().map(|range| range.end - range.start).sum()
    }

    /// What is missing of a blob of `size` bytes.
    pub(crate) fn gaps(&self, size: u64) -> Vec<Range<u64>> {
        self.gaps_in(0..size)
    }

    /// What is missing of a range.
    pub(crate) fn gaps_in(&self, within: Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = within.start;
        // The last one that begins before it may reach into it.
        let first = self.0.range(..=at).next_back().map_or(at, |(start, _)| *start);
        let known = self.0.range(first..).map(|(start, end)| *start..*end).take_while(|range| range.start < within.end);
        for range in known.chain(std::iter::once(within.end..within.end)) {
            if range.start > at {
                gaps.push(at..range.start);
            }
            at = at.max(range.end);
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::Ranges;

    #[test]
    fn ranges_join() {
        let mut ranges = Ranges::default();
        assert_eq!((ranges.gaps(10).len(), ranges.gaps(0).len()), (1, 0));
        assert_eq!(ranges.insert(2..4), 2..4);
        assert_eq!(ranges.insert(6..8), 6..8);
        assert_eq!((ranges.front(), ranges.bytes()), (0, 4));
        assert_eq!(ranges.gaps(10), [0..2, 4..6, 8..10]);
        assert_eq!(ranges.gaps_in(3..9), [4..6, 8..9]);
        assert_eq!(ranges.gaps_in(5..9), [5..6, 8..9]);
        assert_eq!((ranges.gaps_in(2..4).len(), ranges.gaps_in(6..7).len()), (0, 0));
        assert_eq!(ranges.insert(4..6), 2..8);
        assert_eq!(ranges.insert(5..5), 5..5);
        assert_eq!(ranges.insert(3..9), 2..9);
        assert_eq!(ranges.insert(0..1), 0..1);
        assert_eq!(ranges.insert(0..3), 0..9);
        assert_eq!((ranges.front(), ranges.bytes(), ranges.iter().count()), (9, 9, 1));
        assert_eq!(ranges.gaps(9), []);
        ranges.take(&(0..9));
        assert_eq!(ranges.front(), 0);
    }
}
