//! Connections between two requests.

use super::{Payload, url::Origin};
use hyper::client::conn::http1::SendRequest;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};
use tokio::time::Instant;

/// As long as Go keeps them is 90 s, and as many as 100; a pull is over long before.
const KEPT_FOR: Duration = Duration::from_secs(15);
const KEPT: usize = 16;

/// A connection that waits.
struct Idle {
    origin: Origin,
    sender: SendRequest<Payload>,
    since: Instant,
}

/// The connections that wait, the longest waiting first.
#[derive(Default)]
pub(super) struct Pool(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    idle: VecDeque<Idle>,
    swept: bool,
}

impl Pool {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to `origin` that waited the shortest.
    pub(super) fn take(&self, origin: &Origin) -> Option<SendRequest<Payload>> {
        let mut waiting = self.lock();
        waiting.idle.retain(|idle| !idle.sender.is_closed());
        let index = waiting.idle.iter().rposition(|idle| idle.origin == *origin)?;
        waiting.idle.remove(index).map(|idle| idle.sender)
    }

    /// Keeps a connection for the next request.
    pub(super) fn put(self: &Arc<Self>, origin: Origin, sender: SendRequest<Payload>) {
        if sender.is_closed() {
            return;
        }
        let mut waiting = self.lock();
        if waiting.idle.len() >= KEPT {
            waiting.idle.pop_front();
        }
        waiting.idle.push_back(Idle { origin, sender, since: Instant::now() });
        if !std::mem::replace(&mut waiting.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }
}

/// Closes connections that nobody wanted in time; ends with the last.
async fn sweep(pool: Weak<Pool>) {
    loop {
        let next = {
            let Some(pool) = pool.upgrade() else { return };
            let mut waiting = pool.lock();
            waiting.idle.retain(|idle| idle.since.elapsed() < KEPT_FOR && !idle.sender.is_closed());
            let Some(first) = waiting.idle.front() else {
                waiting.swept = false;
                return;
            };
            first.since + KEPT_FOR
        };
        tokio::time::sleep_until(next).await;
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}
