//! How much containers may have under way at a time, so that none of them takes the daemon's memory or descriptors, or
//! another container's share of them.
//!
//! A container may hold as much as is still free, and never more than a fixed number. So one that floods gets half of
//! everything at most, two get a third each, and the next one always finds something. What is more than that may wait, in
//! a queue of the container's own; queues have their turns one after the other.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// What all containers share.
#[derive(Debug)]
pub(crate) struct Budget {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    total: usize,
    used: usize,
    next: u64,
    accounts: HashMap<u64, Account>,
    /// Those with a queue, the next one first.
    turns: VecDeque<u64>,
}

/// What a container has of it.
#[derive(Debug)]
struct Account {
    most: usize,
    mine: usize,
    queue: VecDeque<oneshot::Sender<Permit>>,
}

/// One container's access to a budget.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    number: u64,
}

/// Something under way; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    /// `None` once it was given back.
    budget: Option<Arc<Budget>>,
    number: u64,
}

/// A place in a queue.
#[derive(Debug)]
pub(crate) struct Place(oneshot::Receiver<Permit>);

impl Budget {
    pub(crate) fn new(total: usize) -> Arc<Self> {
        let (accounts, turns) = (HashMap::new(), VecDeque::new());
        Arc::new(Self { state: Mutex::new(State { total, used: 0, next: 0, accounts, turns }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes one for an account, unless that would be too many.
    fn take(&mut self, number: u64) -> bool {
        let free = self.total.saturating_sub(self.used);
        let Some(account) = self.accounts.get_mut(&number) else { return false };
        if account.mine >= account.most.min(free) {
            return false;
        }
        account.mine += 1;
        self.used += 1;
        true
    }

    fn give_back(&mut self, number: u64) {
        self.used -= 1;
        if let Some(account) = self.accounts.get_mut(&number) {
            account.mine -= 1;
        }
    }

    /// Gives what is free to those who wait, each queue in its turn.
    fn serve(&mut self, budget: &Arc<Budget>) {
        let mut in_vain = 0;
        while in_vain < self.turns.len() {
            let Some(number) = self.turns.pop_front() else { return };
            let served = self.serve_one(budget, number);
            in_vain = if served { 0 } else { in_vain + 1 };
            if self.accounts.get(&number).is_some_and(|account| !account.queue.is_empty()) {
                self.turns.push_back(number);
            }
        }
    }

    fn serve_one(&mut self, budget: &Arc<Budget>, number: u64) -> bool {
        while self.take(number) {
            let waiting = self.accounts.get_mut(&number).and_then(|account| account.queue.pop_front());
            // Made for somebody only: one that is dropped here would want the lock.
            match waiting.map(|waiting| waiting.send(Permit { budget: Some(budget.clone()), number })) {
                Some(Ok(())) => return true,
                // Whoever it was for waits no more.
                Some(Err(mut permit)) => permit.budget = None,
                None => {
                    self.give_back(number);
                    return false;
                }
            }
            self.give_back(number);
        }
        false
    }
}

impl Share {
    /// A container's share, in which it may hold at most `most`, and as many again may wait.
    pub(crate) fn new(budget: &Arc<Budget>, most: usize) -> Self {
        let mut state = budget.state();
        let number = state.next;
        state.next += 1;
        state.accounts.insert(number, Account { most, mine: 0, queue: VecDeque::new() });
        drop(state);
        Self { budget: budget.clone(), number }
    }

    /// Takes one, unless that would be too many.
    pub(crate) fn take(&self) -> Option<Permit> {
        let took = self.budget.state().take(self.number);
        took.then(|| Permit { budget: Some(self.budget.clone()), number: self.number })
    }

    /// A place in the queue, unless that is too long.
    pub(crate) fn queue(&self) -> Option<Place> {
        let mut state = self.budget.state();
        let account = state.accounts.get_mut(&self.number)?;
        if account.queue.len() >= account.most {
            account.queue.retain(|waiting| !waiting.is_closed());
        }
        if account.queue.len() >= account.most {
            return None;
        }
        let (permit, place) = oneshot::channel();
        account.queue.push_back(permit);
        if account.queue.len() == 1 {
            state.turns.push_back(self.number);
        }
        // Something may have come back since there was nothing.
        state.serve(&self.budget);
        Some(Place(place))
    }
}

impl Place {
    /// What has come free, if something has before the patience has ended.
    pub(crate) async fn wait(self, patience: Duration) -> Option<Permit> {
        timeout(patience, self.0).await.ok()?.ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // What is under way is given back to all when it ends. The queue, whose places give nothing back, goes with the
        // lock being free: the state is not used by what is dropped here.
        let account = self.budget.state().accounts.remove(&self.number);
        drop(account);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(budget) = self.budget.take() {
            let mut state = budget.state();
            state.give_back(self.number);
            state.serve(&budget);
        }
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
        assert_eq!(budget.state().used, 0);
        assert_eq!(take_all(&shares[2]).len(), 50);
    }

    #[test]
    fn nobody_gets_more_than_the_most() {
        let share = Share::new(&Budget::new(100), 8);
        assert_eq!(take_all(&share).len(), 8);
    }

    #[tokio::test]
    async fn who_waits_is_served_in_turn() {
        const PATIENCE: Duration = Duration::from_secs(60);
        let budget = Budget::new(100);
        let (first, second) = (Share::new(&budget, 2), Share::new(&budget, 2));
        let (mut held, mut others) = (take_all(&first), take_all(&second));
        let mut places = [first.queue().unwrap(), first.queue().unwrap(), second.queue().unwrap()];
        assert!(first.queue().is_none(), "as many as may be held may wait");
        assert!(places.iter_mut().all(|place| place.0.try_recv().is_err()));
        held.pop();
        let [one, two, three] = places;
        let got = one.wait(PATIENCE).await.unwrap();
        assert!(first.take().is_none());
        others.pop();
        drop(three.wait(PATIENCE).await.unwrap());
        // Who waits no more gets nothing, and the one after it does.
        drop(two);
        let last = first.queue().unwrap();
        drop(got);
        drop(last.wait(PATIENCE).await.unwrap());
        drop((held, others));
        assert_eq!(budget.state().used, 0);
        assert!(budget.state().turns.is_empty());
    }

    #[tokio::test]
    async fn patience_ends() {
        let budget = Budget::new(100);
        let share = Share::new(&budget, 1);
        let held = share.take();
        assert!(share.queue().unwrap().wait(Duration::from_millis(1)).await.is_none());
        let place = share.queue().unwrap();
        drop(share);
        assert!(place.wait(Duration::from_secs(60)).await.is_none(), "the container has ended");
        drop(held);
        let state = budget.state();
        assert_eq!((state.used, state.accounts.len()), (0, 0));
    }
}
