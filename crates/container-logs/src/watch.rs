//! Waiting for a log to grow.
//!
//! One [`Watcher`] serves every reader of a daemon, since a user may only have 128 inotify
//! instances. It watches the log's directory: that covers growth, rotation and a log that does not
//! exist yet with one watch and no moment in which a change is missed.
//!
//! Use: subscribe, then read until [`crate::State::CaughtUp`], wait for the watch, read again.

use gantry_linux::inotify::{Events, FILE_CHANGES, Inotify};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Names a watched log; logs in one directory share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchId(i32);

/// Tells which logs changed. Its descriptor is readable when there is something to [`Watcher::drain`].
#[derive(Debug)]
pub struct Watcher {
    inotify: Inotify,
    /// Subscriptions of each watch.
    users: Mutex<HashMap<i32, usize>>,
}

impl Watcher {
    /// A watcher without logs.
    pub fn new() -> io::Result<Self> {
        Ok(Self { inotify: Inotify::new()?, users: Mutex::default() })
    }

    /// Watches the log whose current file is `path`, until as many [`Watcher::unsubscribe`].
    pub fn subscribe(&self, path: &Path) -> io::Result<WatchId> {
        let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let watch = self.inotify.add(dir, FILE_CHANGES)?;
        *users.entry(watch).or_default() += 1;
        Ok(WatchId(watch))
    }

    /// Ends one subscription.
    pub fn unsubscribe(&self, id: WatchId) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = users.get_mut(&id.0) {
            *count -= 1;
            if *count == 0 {
                users.remove(&id.0);
                // Failing leaves a watch that nobody listens to.
                let _ = self.inotify.remove(id.0);
            }
        }
    }

    /// Calls `f` for every log that may have changed; after lost events for all of them.
    pub fn drain(&self, mut f: impl FnMut(WatchId)) -> io::Result<()> {
        let mut lost = false;
        self.inotify.drain(|watch, events| {
            lost |= events.contains(Events::QUEUE_OVERFLOW);
            f(WatchId(watch));
        })?;
        if lost {
            // Copied, because `f` may take a lock under which somebody else subscribes.
            let watches: Vec<i32> = self.users.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
            for watch in watches {
                f(WatchId(watch));
            }
        }
        Ok(())
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
