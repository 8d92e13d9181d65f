//! Copies of image content into volumes that must be mounted for that, when they were cut short.
//!
//! A directory of the local driver is settled by the daemon that starts, together with the volumes (`gantry_volumes`).
//! What is mounted is settled by the next who mounts it, before anybody else sees it: a plugin or a server need not be
//! there when the daemon starts.

use super::runs::Source;
use crate::Engine;
use gantry_model::Result;
use gantry_runtime::held_mount;
use gantry_volumes::Unfinished;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

impl Source {
    /// Runs `work` with the root of the volume.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce(OwnedFd) -> io::Result<T> + Send) -> io::Result<T> {
        let directory =
            |path: &Path| rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        match self {
            Self::Directory(path) => work(directory(path)?),
            Self::Host(host) => work(directory(&host.path)?),
            Self::Held(namespace) => held_mount::within(namespace.as_fd(), work),
        }
    }
}

/// The directory at `subpath` below `base`, if there is one.
pub(crate) fn directory(base: &OwnedFd, subpath: &str) -> io::Result<Option<OwnedFd>> {
    let path = if subpath.is_empty() { "." } else { subpath };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat2(base, path, flags, Mode::empty(), resolve) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::XDEV | Errno::LOOP) => Ok(None),
        other => Ok(Some(other?)),
    }
}

impl Engine {
    /// Finishes or undoes in a volume that has just been mounted what an earlier daemon has begun. Blocks.
    pub(super) fn settle_fills(&self, name: &str, source: &Source) {
        for fill in self.volumes.unfinished_fills(name) {
            if let Err(e) = self.settle_fill(&fill, source) {
                tracing::warn!("volume {name}: a copy of an image's files was interrupted, and is not settled: {e}");
            }
        }
    }

    fn settle_fill(&self, fill: &Unfinished, source: &Source) -> Result<()> {
        source.within(|base| match directory(&base, &fill.subpath)? {
            Some(to) => fill.settle(to.as_fd()),
            None => Ok(()),
        })?;
        Ok(self.volumes.fill_is_settled(fill)?)
    }

    /// A daemon starts: what needs nobody else is settled at once. Blocks.
    pub(crate) fn settle_fills_of_directories(&self) {
        for name in self.volumes.volumes_with_unfinished_fills() {
            let Ok(volume) = self.volumes.get(&name) else {
                for fill in self.volumes.unfinished_fills(&name) {
                    drop(self.volumes.fill_is_settled(&fill));
                }
                continue;
            };
            let needs_others = !volume.is_local() || super::runs::is_file_system(&volume);
            let user = "settling";
            if needs_others && !self.volume_runs.in_use(&name) {
                continue;
            }
            match self.mount_volume(&name, user) {
                Ok(_) => self.handle.block_on(self.unmount_volume(&name, user)),
                Err(e) => tracing::warn!("volume {name}: {e}"),
            }
        }
    }
}
