//! One inotify instance for every client that follows a log.

use crate::readiness;
use gantry_container_logs::{WatchId, Watcher};
use gantry_model::Result;
use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// Lets tokio poll the watcher, which it knows only by its number.
#[derive(Debug)]
struct Polled(Watcher);

impl AsRawFd for Polled {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

#[derive(Debug)]
struct Hub {
    watcher: AsyncFd<Polled>,
    /// Counts changes of each watched log.
    changes: Mutex<HashMap<WatchId, watch::Sender<u64>>>,
}

/// Tells followers when their log has grown. The kernel's instance is made with the first of them.
#[derive(Debug, Default)]
pub(crate) struct LogWatch(OnceLock<Arc<Hub>>);

/// A follower's subscription.
#[derive(Debug)]
pub(crate) struct Subscription {
    hub: Arc<Hub>,
    id: WatchId,
    changes: watch::Receiver<u64>,
}

impl LogWatch {
    /// Follows the log at `path`; what is written from now on is noticed.
    pub(crate) fn subscribe(&self, path: &Path) -> Result<Subscription> {
        let hub = self.hub()?;
        let mut changes = hub.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let id = hub.watcher.get_ref().0.subscribe(path)?;
        let receiver = changes.entry(id).or_insert_with(|| watch::channel(0).0).subscribe();
        drop(changes);
        Ok(Subscription { hub, id, changes: receiver })
    }

    fn hub(&self) -> Result<Arc<Hub>> {
        if let Some(hub) = self.0.get() {
            return Ok(hub.clone());
        }
        let watcher = readiness::watch(Polled(Watcher::new()?))?;
        let fresh = Arc::new(Hub { watcher, changes: Mutex::default() });
        let hub = self.0.get_or_init(|| fresh.clone());
        if Arc::ptr_eq(hub, &fresh) {
            tokio::spawn(pump(fresh));
        }
        Ok(hub.clone())
    }
}

impl Subscription {
    /// Waits for the next change since the last call (or the subscription).
    pub(crate) async fn changed(&mut self) {
        // The sender is in the hub, which this subscription keeps.
        drop(self.changes.changed().await);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut changes = self.hub.changes.lock().unwrap_or_else(PoisonError::into_inner);
        self.hub.watcher.get_ref().0.unsubscribe(self.id);
        // Our own receiver is still counted.
        if changes.get(&self.id).is_some_and(|sender| sender.receiver_count() <= 1) {
            changes.remove(&self.id);
        }
    }
}

async fn pump(hub: Arc<Hub>) {
    loop {
        let drained = match hub.watcher.readable().await {
            Ok(mut ready) => {
                ready.clear_ready();
                hub.watcher.get_ref().0.drain(|id| {
                    let changes = hub.changes.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(sender) = changes.get(&id) {
                        sender.send_modify(|n| *n += 1);
                    }
                })
            }
            Err(e) => Err(e),
        };
        if let Err(e) = drained {
            return tracing::error!("watching logs: {e}");
        }
    }
}
