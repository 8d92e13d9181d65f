//! File systems that several containers share and the host does not see: volumes with a `type` of their own.
//!
//! Such a mount lives in a mount namespace that no process is in. What keeps it alive are descriptors of the namespace:
//! one in the shim of each container that uses it, and the daemon's. So it is mounted once, it survives the daemon, and
//! when the last container has ended and nobody holds a descriptor, the kernel unmounts it. There is nothing to leak.

use crate::rootfs::tree;
use crate::spec::{MountFlags, Propagation};
use gantry_linux::process::{setns, unshare};
use rustix::fs::{CWD, Mode, OFlags, fstat, mkdirat, openat};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{fchdir, pivot_root};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::thread;

/// Where the mount is in its namespace.
const PLACE: &str = "/mount";

/// Mounts a file system in a namespace of its own and gives the namespace's descriptor. `place` is any directory; in
/// this process' namespace nothing is mounted on it.
pub fn mount(kind: &str, options: &[String], flags: MountFlags, place: &Path) -> io::Result<OwnedFd> {
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let new = tree::new_filesystem(kind, &options)?;
    tree::set_flags(new.as_fd(), flags, false)?;
    on_a_thread(|| hold(new.as_fd(), place))
}

/// A thread of this process has descriptor `number` of such a namespace: `work` runs in it, with the mount's root.
/// What `work` returns may be mounts that it has cloned. The thread comes back to its own namespace, and with it to
/// that namespace's root; its working directory is that root, too. For threads that share neither with others.
pub(crate) fn take_by_number<T>(number: i32, work: impl FnOnce(OwnedFd) -> io::Result<T>) -> io::Result<T> {
    let theirs = File::open(format!("/proc/thread-self/fd/{number}"))?;
    take(theirs.as_fd(), work)
}

fn take<T>(namespace: BorrowedFd<'_>, work: impl FnOnce(OwnedFd) -> io::Result<T>) -> io::Result<T> {
    let own = File::open("/proc/thread-self/ns/mnt")?;
    setns(namespace, libc::CLONE_NEWNS)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let done = openat(CWD, PLACE, flags, Mode::empty()).map_err(io::Error::from).and_then(work);
    setns(own.as_fd(), libc::CLONE_NEWNS)?;
    done
}

/// Runs `work` with the root of the mount that `namespace` holds, on a thread that is in it meanwhile.
pub fn within<T: Send>(namespace: BorrowedFd<'_>, work: impl FnOnce(OwnedFd) -> io::Result<T> + Send) -> io::Result<T> {
    on_a_thread(|| {
        unshare(libc::CLONE_FS)?;
        take(namespace, work)
    })
}

/// The number by which the kernel tells the namespace from others, as long as it lives.
pub fn number(namespace: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(fstat(namespace)?.st_ino)
}

/// The descriptor that process `pid` has of the namespace with this number.
pub fn find(pid: u32, number: u64) -> io::Result<OwnedFd> {
    let wanted = format!("mnt:[{number}]");
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        let path = entry?.path();
        if std::fs::read_link(&path).is_ok_and(|target| target.as_os_str() == wanted.as_str()) {
            return File::open(path).map(Into::into);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let worker = thread::Builder::new().name("volume".into()).spawn_scoped(scope, work)?;
        worker.join().unwrap_or_else(|_| Err(io::Error::other("the thread that mounts a volume panicked")))
    })
}

/// Moves the thread into a namespace in which nothing is but an empty directory and the mount: one that kept the
/// host's mounts would keep the host from unmounting them.
fn hold(new: BorrowedFd<'_>, place: &Path) -> io::Result<OwnedFd> {
    unshare(libc::CLONE_NEWNS)?;
    let dir = |path: &Path| openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let old = dir(Path::new("/"))?;
    tree::set_propagation(old.as_fd(), Propagation::RPrivate)?;
    let namespace = File::open("/proc/thread-self/ns/mnt")?;
    let root = tree::new_filesystem("tmpfs", &["mode=700", "size=64k", "nr_inodes=16"])?;
    mkdirat(&root, PLACE.trim_start_matches('/'), Mode::RWXU)?;
    tree::attach(root.as_fd(), dir(place)?.as_fd())?;
    fchdir(&root)?;
    pivot_root(".", ".")?;
    fchdir(&old)?;
    unmount(".", UnmountFlags::DETACH)?;
    tree::attach(new, dir(Path::new(PLACE))?.as_fd())?;
    Ok(namespace.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::parts;
    use crate::spec::Tree;
    use rustix::fs::{statat, symlinkat};
    use std::os::fd::AsRawFd;

    fn write(root: &OwnedFd, name: &str) -> io::Result<()> {
        openat(root, name, OFlags::WRONLY | OFlags::CREATE, Mode::RUSR)?;
        Ok(())
    }

    #[test]
    fn a_mount_is_shared_and_not_seen() {
        let dir = tempfile::tempdir().unwrap();
        let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let held = mount("tmpfs", &["size=1m".to_owned()], MountFlags::default(), dir.path()).unwrap();
        within(held.as_fd(), |root| write(&root, "file")).unwrap();
        within(held.as_fd(), |root| Ok(statat(&root, "file", rustix::fs::AtFlags::empty())?)).unwrap();
        assert_eq!(before, std::fs::read_to_string("/proc/self/mountinfo").unwrap());
        let found = find(std::process::id(), number(held.as_fd()).unwrap()).unwrap();
        within(found.as_fd(), |root| write(&root, "another")).unwrap();
        assert!(mount("no-such-type", &[], MountFlags::default(), dir.path()).is_err());
    }

    #[test]
    fn parts_of_it_do_not_lead_out() {
        let dir = tempfile::tempdir().unwrap();
        let held = mount("tmpfs", &[], MountFlags::default(), dir.path()).unwrap();
        within(held.as_fd(), |root| {
            mkdirat(&root, "sub", Mode::RWXU)?;
            write(&root, "sub/inner")?;
            symlinkat("sub", &root, "link")?;
            symlinkat("/etc", &root, "absolute")?;
            Ok(symlinkat("../../etc", &root, "up")?)
        })
        .unwrap();
        let take = |subpath: &str| {
            let tree = Tree::Held(held.as_raw_fd());
            on_a_thread(|| {
                unshare(libc::CLONE_FS)?;
                parts::take(&tree, Path::new(subpath))
            })
        };
        for good in ["sub", "link", "sub/../sub"] {
            let clone = take(good).unwrap();
            assert!(statat(&clone, "inner", rustix::fs::AtFlags::empty()).is_ok(), "{good}");
        }
        for bad in ["absolute", "up", "../mount/sub", "missing"] {
            assert!(take(bad).is_err(), "{bad}");
        }
    }
}
