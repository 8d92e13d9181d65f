//! Work whose result several callers take: who asks while it is under way waits for the next round, together with all
//! others who do. So nobody is told what was true before they asked, and however many ask, there are two rounds at most.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;

/// A round that several callers wait for.
type Round<T> = Arc<OnceCell<T>>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Joint<T> {
    /// The round that has not begun.
    next: Mutex<Option<Round<T>>>,
    /// Held by the one that has.
    turn: tokio::sync::Mutex<()>,
}

impl<T> Default for Joint<T> {
    fn default() -> Self {
        Self { next: Mutex::new(None), turn: tokio::sync::Mutex::new(()) }
    }
}

impl<T: Clone> Joint<T> {
    /// What `work` gives, or that of another caller which begins after this call. A caller that goes away leaves the
    /// work to another of its round.
    pub(crate) async fn run<F: Future<Output = T>>(&self, work: impl FnOnce() -> F) -> T {
        let round = self.next.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().clone();
        let result = round.get_or_init(|| async {
            let _turn = self.turn.lock().await;
            {
                let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
                // If the caller before this one went away in the middle, the next round may be another already.
                if next.as_ref().is_some_and(|next| Arc::ptr_eq(next, &round)) {
                    *next = None;
                }
            }
            work().await
        });
        result.await.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;
    use tokio::sync::Notify;

    #[tokio::test]
    async fn who_comes_during_a_round_shares_the_next() {
        let (joint, count, go) = (Arc::new(Joint::default()), Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let call = || {
            let (joint, count, go) = (joint.clone(), count.clone(), go.clone());
            tokio::spawn(async move {
                let work = || async move {
                    let number = count.fetch_add(1, Ordering::SeqCst);
                    go.notified().await;
                    number
                };
                joint.run(work).await
            })
        };
        let first = call();
        tokio::task::yield_now().await;
        let others: Vec<_> = (0..10).map(|_| call()).collect();
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert_eq!(count.load(Ordering::SeqCst), 1, "one round at a time");
        go.notify_one();
        assert_eq!(first.await.unwrap(), 0);
        go.notify_one();
        for other in others {
            assert_eq!(other.await.unwrap(), 1);
        }
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_leaves_the_work_to_others() {
        let joint = Arc::new(Joint::default());
        let never = {
            let joint = joint.clone();
            tokio::spawn(async move { joint.run(std::future::pending::<u32>).await })
        };
        tokio::task::yield_now().await;
        let waits = {
            let joint = joint.clone();
            tokio::spawn(async move { joint.run(|| async { 7 }).await })
        };
        tokio::task::yield_now().await;
        never.abort();
        let found = tokio::time::timeout(Duration::from_secs(20), waits).await;
        assert_eq!(found.unwrap().unwrap(), 7);
        assert_eq!(joint.run(|| async { 8 }).await, 8);
    }
}
