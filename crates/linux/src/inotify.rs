//! File change notification.

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

pub use rustix::fs::inotify::ReadFlags as Events;

/// A non-blocking inotify instance. Its descriptor is readable when there are events.
#[derive(Debug)]
pub struct Inotify(OwnedFd);

/// Watches directories for changed, new and renamed files.
pub const FILE_CHANGES: WatchFlags =
    WatchFlags::MODIFY.union(WatchFlags::CREATE).union(WatchFlags::MOVED_TO).union(WatchFlags::ONLYDIR);

/// Watches a directory for files that come, go or have been written, or a file for the same.
pub const PLACE_CHANGES: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF);

impl Inotify {
    /// A new instance (a user may have 128 by default: share them).
    pub fn new() -> io::Result<Self> {
        Ok(Self(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?))
    }

    /// Adds a watch; the same inode gets the same number again.
    pub fn add(&self, path: &Path, events: WatchFlags) -> io::Result<i32> {
        Ok(inotify::add_watch(&self.0, path, events)?)
    }

    /// Removes a watch; one that the kernel has removed already is no error.
    pub fn remove(&self, watch: i32) -> io::Result<()> {
        match inotify::remove_watch(&self.0, watch) {
            Err(Errno::INVAL) | Ok(()) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Calls `f` with the watch and kind of every event that is queued. The watch -1 with
    /// `QUEUE_OVERFLOW` says that events were lost.
    pub fn drain(&self, mut f: impl FnMut(i32, Events)) -> io::Result<()> {
        let mut buf = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.0, &mut buf);
        loop {
            match reader.next() {
                Ok(event) => f(event.wd(), event.events()),
                Err(Errno::WOULDBLOCK) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
