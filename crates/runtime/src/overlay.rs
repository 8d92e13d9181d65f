//! Detached overlay mounts for the daemon's own reads (copying from a container that is not running,
//! export, sizes): nothing appears in the host's mount table, and closing the descriptor ends it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Mounts `lower` (topmost first), and `upper` with its work directory if it is to be written to.
/// The descriptor is `O_PATH` on the root; use it with `openat` and friends.
pub fn mount(lower: &[PathBuf], writable: Option<(&Path, &Path)>) -> io::Result<OwnedFd> {
    if writable.is_none() && lower.len() == 1 {
        // The kernel refuses an overlay of a single directory; a read-only bind of it is the same thing.
        let dir = std::fs::File::open(&lower[0])?;
        let tree = crate::rootfs::tree::clone_tree(dir.as_fd(), false)?;
        crate::rootfs::tree::set_readonly(tree.as_fd(), false)?;
        return Ok(tree);
    }
    crate::rootfs::overlay::mount(lower, writable)
}

/// What a container shows that does not run: its upper directory on top of its layers, read-only.
pub fn view(lower: &[PathBuf], upper: &Path) -> io::Result<OwnedFd> {
    let layers: Vec<PathBuf> = std::iter::once(upper.to_owned()).chain(lower.iter().cloned()).collect();
    mount(&layers, None)
}
