//! How often and when something is tried again.

use std::time::Duration;

/// The longest pause between two attempts that nobody asked for.
const LONGEST: Duration = Duration::from_secs(30);
/// The longest pause that a registry may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(300);
/// An attempt that brought so many bytes is not counted: on a network that breaks off all the time, a large layer
/// still arrives piece by piece.
const PROGRESS: u64 = 64 * 1024;

/// Attempts that are left.
#[derive(Debug)]
pub(crate) struct Attempts {
    limit: u32,
    failed: u32,
}

impl Attempts {
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit, failed: 0 }
    }

    /// After an attempt that failed and brought `bytes`: how long to wait before the next, `None` when there is none.
    pub(crate) fn pause(&mut self, bytes: u64, asked: Option<Duration>) -> Option<Duration> {
        if bytes >= PROGRESS {
            self.failed = 0;
        }
        self.failed += 1;
        if self.failed >= self.limit {
            return None;
        }
        let own = Duration::from_secs(1 << (self.failed - 1).min(10)).min(LONGEST);
        Some(asked.map_or(own, |asked| asked.clamp(own, LONGEST_ASKED)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let mut attempts = Attempts::new(4);
        let pauses: Vec<_> = std::iter::from_fn(|| attempts.pause(0, None)).map(|p| p.as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4]);
    }

    #[test]
    fn progress_counts_anew() {
        let mut attempts = Attempts::new(2);
        for _ in 0..10 {
            assert_eq!(attempts.pause(PROGRESS, None), Some(Duration::from_secs(1)));
        }
        assert_eq!(attempts.pause(PROGRESS - 1, None), None);
    }

    #[test]
    fn a_registry_may_ask_for_more() {
        let mut attempts = Attempts::new(9);
        assert_eq!(attempts.pause(0, Some(Duration::from_secs(20))), Some(Duration::from_secs(20)));
        assert_eq!(attempts.pause(0, Some(Duration::ZERO)), Some(Duration::from_secs(2)));
        assert_eq!(attempts.pause(0, Some(Duration::from_secs(86400))), Some(LONGEST_ASKED));
    }
}
