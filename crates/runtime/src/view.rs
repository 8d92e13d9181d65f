//! What a container's files look like, as a detached mount for the daemon: the root with the binds and volumes on it,
//! and nothing that the container has mounted itself.
//!
//! The mounts are made in a mount namespace that lasts as long as the thread that makes them; the daemon's own never
//! shows them, and what is left is a descriptor. Nothing of the container's runs, and every target is resolved inside
//! the root (CVE-2018-15664, CVE-2019-14271).

use crate::rootfs::resolve::Root;
use crate::rootfs::{mounts, overlay, shifted, tree};
use crate::spec::{Mount, Propagation};
use crate::{child, overlay as detached};
use gantry_linux::process::{own_files_as, setns, unshare};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;

/// Where the root comes from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// The overlay that a running container has mounted.
    Running {
        /// Its init process in the daemon's pid namespace.
        pid: u32,
        /// Clock ticks after boot.
        start_time: u64,
        /// The shim of a container with a user namespace, which keeps the mount namespace it was assembled in: in the
        /// container's own all mounts are locked, and a locked one cannot be cloned without what is on it.
        keeper: Option<u32>,
    },
    /// An overlay of these, for reading only: a container that may start meanwhile is not disturbed.
    Layers(Vec<PathBuf>),
    /// An overlay that is written to; nobody else may have it mounted.
    Writable {
        /// Topmost first.
        lower: Vec<PathBuf>,
        /// The container's own layer.
        upper: PathBuf,
        /// overlayfs' work directory.
        work: PathBuf,
    },
}

/// What a view shows.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The root.
    pub origin: Origin,
    /// Forbid writing through the view.
    pub readonly: bool,
    /// Binds that are shown in it, a parent before what lies below it. Targets that are missing are made; in a root
    /// that cannot be written to, that is an error (`EROFS`).
    pub binds: &'a [Mount],
    /// An empty directory to assemble the mounts at.
    pub place: &'a Path,
    /// The user namespace whose ids on the host the files of the store are shown with, and what its root is there.
    pub shift: Option<Shift<'a>>,
}

/// A map of ids.
#[derive(Debug, Clone, Copy)]
pub struct Shift<'a> {
    /// Any user namespace with the container's map.
    pub user: BorrowedFd<'a>,
    /// User and group on the host of the namespace's root.
    pub root: (u32, u32),
}

/// Makes the view; the descriptor is its root.
pub fn open(wanted: &Wanted<'_>) -> io::Result<OwnedFd> {
    if wanted.binds.is_empty() && !is_running(&wanted.origin) && wanted.shift.is_none() {
        return origin(wanted);
    }
    on_a_thread(|| assemble(wanted)?.detach())
}

/// Makes the view and calls `work` with its root, on a thread that has it in its mount namespace: there, and only
/// there, the kernel refuses to remove what something is mounted on. Elsewhere a removal would take the mount away,
/// from the container too.
pub fn within<T: Send>(wanted: &Wanted<'_>, work: impl FnOnce(&OwnedFd) -> T + Send) -> io::Result<T> {
    on_a_thread(|| {
        let assembled = assemble(wanted)?;
        Ok(work(&assembled.root.into_fd()))
    })
}

/// The namespaces of the work are the thread's, and end with it.
fn on_a_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let worker = thread::Builder::new().name("view".into()).spawn_scoped(scope, work)?;
        worker.join().unwrap_or_else(|_| Err(io::Error::other("the thread that makes a view panicked")))
    })
}

/// The user and group that `user[:group]` means by the files in `root`.
pub fn owner(root: &OwnedFd, user: &str) -> gantry_model::Result<(u32, u32)> {
    let identity = child::user::resolve(&Root::new(root.try_clone()?), user, &[])?;
    Ok((identity.uid, identity.gid))
}

/// A user of a container by numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All groups.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: String,
}

/// Who `user[:group]` with further groups is by the files in `root`.
pub fn user(root: &OwnedFd, user: &str, additional: &[String]) -> gantry_model::Result<User> {
    let identity = child::user::resolve(&Root::new(root.try_clone()?), user, additional)?;
    Ok(User { uid: identity.uid, gid: identity.gid, groups: identity.groups, home: identity.home })
}

/// A root that may be attached in the thread's namespace, and then has mounts on it.
struct Assembled {
    root: Root,
    attached: bool,
}

impl Assembled {
    /// What outlives the namespace. A root that was not attached does so itself.
    fn detach(self) -> io::Result<OwnedFd> {
        if self.attached { tree::clone_tree(self.root.fd(), true) } else { Ok(self.root.into_fd()) }
    }
}

fn assemble(wanted: &Wanted<'_>) -> io::Result<Assembled> {
    let attached = !wanted.binds.is_empty();
    let taken = is_running(&wanted.origin).then(|| origin(wanted)).transpose()?;
    if attached || wanted.shift.is_some() {
        unshare(libc::CLONE_NEWNS)?;
        let top = openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        tree::set_propagation(top.as_fd(), Propagation::RPrivate)?;
    }
    if let Some(Shift { root: (uid, gid), .. }) = wanted.shift {
        own_files_as(uid, gid)?;
    }
    let root = Root::new(taken.map_or_else(|| origin(wanted), Ok)?);
    if attached {
        let place = openat(CWD, wanted.place, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        tree::attach(root.fd(), place.as_fd())?;
        for mount in wanted.binds {
            match mounts::attach_bind(&root, mount, wanted.shift.map(|s| s.user)) {
                // The container has renamed what the mount lies in, and its root is read-only.
                Err(e) if e.raw_os_error() == Some(libc::EROFS) && is_running(&wanted.origin) => {}
                attached => attached?,
            }
        }
    }
    if wanted.readonly {
        tree::set_readonly(root.fd(), false)?;
    }
    Ok(Assembled { root, attached })
}

fn is_running(origin: &Origin) -> bool {
    matches!(origin, Origin::Running { .. })
}

fn origin(wanted: &Wanted<'_>) -> io::Result<OwnedFd> {
    let shifted =
        |lower: &[PathBuf], writable, shift: Shift<'_>| shifted::mount(lower, writable, None, wanted.place, shift.user);
    match (&wanted.origin, wanted.shift) {
        (Origin::Running { pid, start_time, keeper }, _) => running(*pid, *start_time, *keeper),
        (Origin::Layers(layers), Some(shift)) => shifted(layers, None, shift),
        (Origin::Layers(layers), None) => detached::mount(layers, None),
        (Origin::Writable { lower, upper, work }, Some(shift)) => shifted(lower, Some((upper, work)), shift),
        (Origin::Writable { lower, upper, work }, None) => overlay::mount(lower, Some((upper, work))),
    }
}

/// The mount namespace that a shim keeps. Those of volumes came with it, so that their numbers are lower.
fn kept(keeper: u32) -> io::Result<File> {
    let mut last = None;
    for entry in std::fs::read_dir(format!("/proc/{keeper}/fd"))? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u32>().ok());
        // Descriptors come and go meanwhile.
        if std::fs::read_link(&path).is_ok_and(|target| target.as_os_str().as_encoded_bytes().starts_with(b"mnt:[")) {
            last = last.max(number);
        }
    }
    let last = last.ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
    File::open(format!("/proc/{keeper}/fd/{last}"))
}

/// A clone of the root mount alone, which only a member of its mount namespace can make. The thread comes back to its
/// own namespace, and with it to that namespace's root.
fn running(pid: u32, start_time: u64, keeper: Option<u32>) -> io::Result<OwnedFd> {
    let theirs = keeper.map_or_else(|| File::open(format!("/proc/{pid}/ns/mnt")), kept)?;
    let own = File::open("/proc/thread-self/ns/mnt")?;
    // The descriptor first, then the check that it is of the process that is meant.
    if crate::container::start_time(pid)? != start_time {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    // Only a thread that shares its root with no other may change its mount namespace.
    unshare(libc::CLONE_FS)?;
    setns(theirs.as_fd(), libc::CLONE_NEWNS)?;
    let taken = openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(io::Error::from)
        .and_then(|top| tree::clone_tree(top.as_fd(), false));
    setns(own.as_fd(), libc::CLONE_NEWNS)?;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{MountFlags, MountSource};
    use rustix::fs::{ResolveFlags, openat2};
    use std::fs;

    #[test]
    fn binds_are_shown_and_nothing_is_left_in_the_mount_table() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["lower/etc", "upper", "work", "volume", "place"] {
            fs::create_dir_all(path(name)).unwrap();
        }
        fs::write(path("lower/etc/from-image"), "image").unwrap();
        fs::write(path("volume/inside"), "volume").unwrap();
        // The target leads through a link out of the root.
        std::os::unix::fs::symlink("/../../../data", path("upper/link")).unwrap();
        let bind = Mount {
            source: MountSource::Bind { path: path("volume"), recursive: true, recursive_readonly: false },
            target: "/link/vol".into(),
            flags: MountFlags { readonly: true, ..MountFlags::default() },
            propagation: Propagation::RPrivate,
            shifted: false,
        };
        let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let origin = Origin::Writable { lower: vec![path("lower")], upper: path("upper"), work: path("work") };
        let place = path("place");
        let wanted = Wanted { origin, readonly: false, binds: &[bind], place: &place, shift: None };
        let root = open(&wanted).unwrap();
        assert_eq!(before, fs::read_to_string("/proc/self/mountinfo").unwrap());
        let at = |name: &str, flags: OFlags| {
            let mode = if flags.contains(OFlags::CREATE) { Mode::RUSR } else { Mode::empty() };
            openat2(&root, name, flags, mode, ResolveFlags::IN_ROOT)
        };
        let text = |name: &str| std::io::read_to_string(File::from(at(name, OFlags::RDONLY).unwrap())).unwrap();
        assert_eq!(text("/etc/from-image"), "image");
        assert_eq!(text("/link/vol/inside"), "volume");
        assert!(at("/new", OFlags::WRONLY | OFlags::CREATE).is_ok());
        let refused = at("/data/vol/new", OFlags::WRONLY | OFlags::CREATE).unwrap_err();
        assert_eq!(refused, rustix::io::Errno::ROFS);
        drop(root);
        assert!(path("upper/data/vol").is_dir() && path("upper/new").is_file());

        let layers = Wanted { origin: Origin::Layers(vec![path("upper"), path("lower")]), ..wanted };
        let root = open(&layers).unwrap();
        let gone = Mount { target: "/missing".into(), ..layers.binds[0].clone() };
        let missing = open(&Wanted { origin: layers.origin.clone(), binds: &[gone], ..layers }).unwrap_err();
        assert_eq!(missing.raw_os_error(), Some(libc::EROFS));
        assert!(openat2(&root, "/data/vol/inside", OFlags::PATH, Mode::empty(), ResolveFlags::IN_ROOT).is_ok());
    }
}
