//! Files of the store in a user namespace: on disk they have the container's own ids, and mounts that map ids show them
//! as those that the namespace's are on the host. So one copy of a layer serves containers of every namespace.

use super::resolve::{Make, Root};
use super::{overlay, tree};
use gantry_linux::mount::map_ids;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A detached clone of a directory's mount with its ids mapped.
pub(crate) fn clone_of(dir: &Path, user_namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let dir = openat(CWD, dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let clone = tree::clone_tree(dir.as_fd(), false)?;
    map(clone.as_fd(), user_namespace)?;
    Ok(clone)
}

/// Maps the ids of a detached mount.
pub(crate) fn map(mount: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>) -> io::Result<()> {
    map_ids(mount, false, user_namespace).map_err(|e| match e.raw_os_error() {
        Some(libc::EINVAL | libc::ENOSYS) => io::Error::new(
            io::ErrorKind::Unsupported,
            "this kernel or the file system of the data-root cannot map the ids of a mount",
        ),
        _ => e,
    })
}

/// [`overlay::mount_labelled`] of mapped layers. Older kernels take only layers that are mounted somewhere: they are attached
/// below `place` in the caller's mount namespace, which must not be the host's, and may go when this has returned.
/// The caller must make files as the namespace's root (`own_files_as`), or the kernel cannot prepare the work directory.
pub(crate) fn mount(
    lower: &[PathBuf],
    writable: Option<(&Path, &Path)>,
    label: Option<&str>,
    place: &Path,
    user_namespace: BorrowedFd<'_>,
) -> io::Result<OwnedFd> {
    if let (None, [only]) = (writable, lower) {
        let clone = clone_of(only, user_namespace)?;
        tree::set_readonly(clone.as_fd(), false)?;
        return Ok(clone);
    }
    let mut shown = Shown::new(place, user_namespace)?;
    let lower = lower.iter().map(|dir| shown.show(dir)).collect::<io::Result<Vec<_>>>()?;
    let writable = match writable {
        // The kernel wants both on one mount.
        Some((upper, work)) => {
            let parent = upper.parent().filter(|parent| work.parent() == Some(parent)).ok_or(Errno::INVAL)?;
            let parent = shown.show(parent)?;
            let below = |path: &Path| path.file_name().map(|name| parent.join(name)).ok_or(Errno::INVAL);
            Some((below(upper)?, below(work)?))
        }
        None => None,
    };
    let writable = writable.as_ref().map(|(upper, work)| (upper.as_path(), work.as_path()));
    overlay::mount_labelled(&lower, writable, label)
}

/// Mapped directories below a place.
struct Shown<'p> {
    place: &'p Path,
    inside: Root,
    user_namespace: BorrowedFd<'p>,
    count: usize,
}

impl<'p> Shown<'p> {
    fn new(place: &'p Path, user_namespace: BorrowedFd<'p>) -> io::Result<Self> {
        let target = openat(CWD, place, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let top = tree::new_filesystem("tmpfs", &["mode=700", "size=64k"])?;
        tree::attach(top.as_fd(), target.as_fd())?;
        Ok(Self { place, inside: Root::new(top), user_namespace, count: 0 })
    }

    fn show(&mut self, dir: &Path) -> io::Result<PathBuf> {
        let name = self.count.to_string();
        self.count += 1;
        let target = self.inside.ensure(Path::new(&name), Make::Directory)?;
        tree::attach(clone_of(dir, self.user_namespace)?.as_fd(), target.as_fd())?;
        Ok(self.place.join(name))
    }
}
