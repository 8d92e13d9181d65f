//! Making the assembled tree the root.

use super::resolve::Root;
use crate::failure::{OrFail, Result, Stage};
use gantry_linux::mount::{Change, set_attributes};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{chdir, fchdir, pivot_root};
use std::os::fd::{AsFd, OwnedFd};

/// Cuts this namespace off from the host's: nothing mounted or unmounted here shows there.
pub(crate) fn isolate() -> Result<()> {
    let root = open_root()?;
    let private = Change::new(0, 0, libc::MS_PRIVATE);
    set_attributes(root.as_fd(), true, &private).or_fail(Stage::Mount, || "make / private")
}

fn open_root() -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, "/", flags, Mode::empty()).or_fail(Stage::Mount, || "open /")
}

/// `pivot_root(".", ".")`: the old root ends up on top of the new one and is detached, without any
/// directory to be made in the container for it.
pub(crate) fn pivot(root: &Root) -> Result<()> {
    let old = open_root()?;
    fchdir(root.fd()).or_fail(Stage::Mount, || "chdir to the new root")?;
    pivot_root(".", ".").or_fail(Stage::Mount, || "pivot_root")?;
    fchdir(&old).or_fail(Stage::Mount, || "chdir to the old root")?;
    unmount(".", UnmountFlags::DETACH).or_fail(Stage::Mount, || "unmount the old root")?;
    chdir("/").or_fail(Stage::Mount, || "chdir to /")
}
