//! The upper directory of an overlay becomes a layer where it lies: what the archive does not tell is taken away, so that
//! the tree is the one that the archive would be extracted to.

use super::{Found, object::magic};
use crate::tar::Time;
use rustix::{
    fd::{AsFd, AsRawFd, OwnedFd},
    fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, removexattr, unlinkat, utimensat},
    io::Errno,
};
use std::{ffi::OsString, fs, io, os::unix::ffi::OsStringExt};

/// The way down the tree that is being settled.
pub(super) struct Settler {
    /// Directories that were entered, with the time that each has at the end: what is taken away inside changes it.
    entered: Vec<(OwnedFd, Timestamps)>,
}

impl Settler {
    pub(super) fn new() -> Self {
        Self { entered: Vec::new() }
    }

    /// Takes a name out of the directory that was entered last, with all that is in it; `root` is the topmost one.
    pub(super) fn remove(&self, root: &OwnedFd, name: &[u8]) -> io::Result<()> {
        let parent = self.entered.last().map_or(root.as_fd(), |(dir, _)| dir.as_fd());
        match unlinkat(parent, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            removed => return Ok(removed?),
        }
        // The descriptor pins the parent; std removes below it without following links.
        let prefix = format!("/proc/self/fd/{}/", parent.as_raw_fd());
        fs::remove_dir_all(OsString::from_vec([prefix.as_bytes(), name].concat()))
    }

    /// Gives a settled object the time that its entry has. A directory gets it when the walk leaves it.
    pub(super) fn object(found: &Found, mtime: Time) -> io::Result<()> {
        if has_time(found, mtime) { Ok(()) } else { set(&found.fd, &times(mtime)) }
    }

    pub(super) fn enter(&mut self, dir: Found, mtime: Time) {
        self.entered.push((dir.fd, times(mtime)));
    }

    pub(super) fn leave(&mut self) -> io::Result<()> {
        self.entered.pop().map_or(Ok(()), |(dir, times)| set(&dir, &times))
    }
}

/// Takes attributes away that are not part of a layer: marks of overlayfs about where a file came from, which must not
/// be believed anywhere else. What the kernel's security modules keep there is theirs.
pub(super) fn strip<'n>(found: &Found, foreign: impl Iterator<Item = &'n [u8]>) -> io::Result<()> {
    for name in foreign.filter(|name| !name.starts_with(b"security.")) {
        match removexattr(magic(&found.fd), name) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn has_time(found: &Found, mtime: Time) -> bool {
    (found.stat.st_mtime, u64::from(mtime.nanos)) == (mtime.seconds, found.stat.st_mtime_nsec)
}

fn times(mtime: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() },
    }
}

fn set(object: &OwnedFd, times: &Timestamps) -> io::Result<()> {
    Ok(utimensat(CWD, magic(object), times, AtFlags::empty())?)
}
