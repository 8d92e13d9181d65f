//! Being told of kills for lack of memory.

use super::Cgroup;
use super::files::{keyed, write};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

impl Cgroup {
    /// How many of its processes the kernel killed for lack of memory.
    pub fn oom_kills(&self) -> io::Result<u64> {
        let count = match (self.v1_dir("memory"), self.unified_dir()) {
            (Some(dir), _) => keyed(dir, "memory.oom_control", "oom_kill"),
            (None, Some(dir)) => keyed(dir, "memory.events", "oom_kill"),
            (None, None) => Ok(None),
        };
        match count {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
            other => Ok(other?.unwrap_or(0)),
        }
    }

    /// A descriptor that becomes readable when the out-of-memory killer may have struck: read it
    /// (up to 4096 bytes at once) and ask [`Cgroup::oom_kills`]. `None` without a memory controller.
    pub fn oom_events(&self) -> io::Result<Option<OwnedFd>> {
        if let Some(dir) = self.v1_dir("memory") {
            let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            let control = File::open(dir.join("memory.oom_control"))?;
            write(dir, "cgroup.event_control", &format!("{} {}", event.as_raw_fd(), control.as_raw_fd()))?;
            return Ok(Some(event));
        }
        let Some(dir) = self.unified_dir() else { return Ok(None) };
        let file = dir.join("memory.events");
        if !file.exists() {
            return Ok(None);
        }
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        inotify::add_watch(&watch, &file, inotify::WatchFlags::MODIFY)?;
        Ok(Some(watch))
    }
}
