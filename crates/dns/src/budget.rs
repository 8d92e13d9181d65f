//! How much containers may have under way at a time, so that none of them takes the daemon's memory or descriptors, or
//! another container's share of them.
//!
//! A container may hold as much as is still free, and never more than a fixed number. So one that floods gets half of
//! everything at most, two get a third each, and the next one always finds something.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What all containers share.
#[derive(Debug)]
pub(crate) struct Budget {
    total: usize,
    used: AtomicUsize,
}

/// One container's access to a budget.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    most: usize,
    mine: Arc<AtomicUsize>,
}

/// Something under way; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Arc<Budget>,
    mine: Arc<AtomicUsize>,
}

impl Budget {
    pub(crate) fn new(total: usize) -> Arc<Self> {
        Arc::new(Self { total, used: AtomicUsize::new(0) })
    }
}

impl Share {
    /// A container's share, in which it may hold at most `most`.
    pub(crate) fn new(budget: &Arc<Budget>, most: usize) -> Self {
        Self { budget: budget.clone(), most, mine: Arc::default() }
    }

    /// Takes one, unless that would be too many. Two that ask at the same moment may both get the last one; the bound
    /// need not be exact.
    pub(crate) fn take(&self) -> Option<Permit> {
        let mine = self.mine.load(Relaxed);
        let free = self.budget.total.saturating_sub(self.budget.used.load(Relaxed));
        if mine >= self.most.min(free) {
            return None;
        }
        self.mine.fetch_add(1, Relaxed);
        self.budget.used.fetch_add(1, Relaxed);
        Some(Permit { budget: self.budget.clone(), mine: self.mine.clone() })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.mine.fetch_sub(1, Relaxed);
        self.budget.used.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(share: &Share) -> Vec<Permit> {
        std::iter::from_fn(|| share.take()).collect()
    }

    #[test]
    fn one_that_floods_leaves_half() {
        let budget = Budget::new(100);
        let shares: Vec<_> = (0..3).map(|_| Share::new(&budget, 1000)).collect();
        let held: Vec<_> = shares.iter().map(take_all).collect();
        assert_eq!(held.iter().map(Vec::len).collect::<Vec<_>>(), [50, 25, 13]);
        drop(held);
        assert_eq!(budget.used.load(Relaxed), 0);
        assert_eq!(take_all(&shares[2]).len(), 50);
    }

    #[test]
    fn nobody_gets_more_than_the_most() {
        let share = Share::new(&Budget::new(100), 8);
        assert_eq!(take_all(&share).len(), 8);
    }
}
