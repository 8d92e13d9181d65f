//! `/dev`: device nodes and links.

use super::resolve::{Make, Root};
use super::tree;
use crate::failure::{OrFail, Result, Stage};
use crate::spec::{Device, Mount, MountSource};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chmodat, chownat, fstat, major, makedev, minor, mknodat, statat,
    symlinkat,
};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The nodes every container has: name, major, minor.
const DEFAULT: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("random", 1, 8), ("full", 1, 7), ("tty", 5, 0), ("zero", 1, 5), ("urandom", 1, 9)];

const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
];

/// Fills `/dev`, unless the user has bound one of the host's there.
pub(crate) fn set_up(root: &Root, mounts: &[Mount], devices: &[Device]) -> Result<()> {
    let bound = |m: &Mount| {
        m.target == Path::new("/dev") && matches!(m.source, MountSource::Bind { .. } | MountSource::Part { .. })
    };
    if mounts.iter().any(bound) {
        return Ok(());
    }
    let dev = root.ensure(Path::new("/dev"), Make::Directory).or_fail(Stage::Mount, || "mkdir /dev")?;
    for (name, major, minor) in DEFAULT {
        let node = Node { block: false, major, minor, mode: 0o666, owner: None };
        node.make(dev.as_fd(), Path::new(name)).or_fail(Stage::Mount, || format!("mknod /dev/{name}"))?;
    }
    for device in devices {
        let (parent, name) =
            root.ensure_parent(&device.path).or_fail(Stage::Mount, || device.path.display().to_string())?;
        let Device { block, major, minor, mode, uid, gid, .. } = *device;
        // As on the host, also where the container's ids are others: a user namespace gives no rights to devices.
        Node { block, major, minor, mode, owner: Some((uid, gid)) }
            .make(parent.as_fd(), Path::new(name))
            .or_fail(Stage::Mount, || format!("mknod {}", device.path.display()))?;
    }
    let link = |target: &str, name: &str| match symlinkat(target, &dev, name) {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    };
    // A kernel that does not show its memory has no link to it.
    let core = root.open(Path::new("/proc/kcore"), OFlags::PATH).is_ok().then_some(("/proc/kcore", "core"));
    for (target, name) in LINKS.into_iter().chain(core) {
        link(target, name).or_fail(Stage::Mount, || format!("symlink /dev/{name}"))?;
    }
    replace_ptmx(dev.as_fd()).or_fail(Stage::Mount, || "symlink /dev/ptmx")
}

/// The host's `ptmx` node would open the host's devpts; the container's own is in `pts`.
fn replace_ptmx(dev: BorrowedFd<'_>) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(dev, "ptmx", AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => symlinkat("pts/ptmx", dev, "ptmx"),
        Err(e) => Err(e),
    }
}

struct Node {
    block: bool,
    major: u32,
    minor: u32,
    mode: u32,
    /// Of the host.
    owner: Option<(u32, u32)>,
}

impl Node {
    fn make(&self, dir: BorrowedFd<'_>, name: &Path) -> io::Result<()> {
        let kind = if self.block { FileType::BlockDevice } else { FileType::CharacterDevice };
        let mode = Mode::from_raw_mode(self.mode & 0o7777);
        match mknodat(dir, name, kind, mode, makedev(self.major, self.minor)) {
            Ok(()) => {}
            Err(Errno::EXIST) => return self.check(dir, name),
            // A host that may not make nodes can still show its own (user namespaces, nested engines).
            Err(Errno::PERM) => return self.bind(dir, name),
            Err(e) => return Err(e.into()),
        }
        if let Some((uid, gid)) = self.owner {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        // mknod(2) with mode 06xx loses set-id bits to nobody, but a default ACL may change the rest.
        Ok(chmodat(dir, name, mode, AtFlags::empty())?)
    }

    /// What is there already is fine if it is this very device.
    fn check(&self, dir: BorrowedFd<'_>, name: &Path) -> io::Result<()> {
        let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if (major(stat.st_rdev), minor(stat.st_rdev)) == (self.major, self.minor) {
            return Ok(());
        }
        Err(Errno::EXIST.into())
    }

    fn bind(&self, dir: BorrowedFd<'_>, name: &Path) -> io::Result<()> {
        let host = Root::new(std::fs::File::open("/")?.into());
        let source = host.open(&Path::new("/dev").join(name), OFlags::PATH)?;
        if !is_device(source.as_fd(), self.major, self.minor)? {
            return Err(Errno::PERM.into());
        }
        let target = Root::new(rustix::io::fcntl_dupfd_cloexec(dir, 3)?).ensure(name, Make::File)?;
        tree::attach(tree::clone_tree(source.as_fd(), false)?.as_fd(), target.as_fd())
    }
}

fn is_device(fd: BorrowedFd<'_>, want_major: u32, want_minor: u32) -> io::Result<bool> {
    let stat = fstat(fd)?;
    let device = matches!(FileType::from_raw_mode(stat.st_mode), FileType::CharacterDevice | FileType::BlockDevice);
    Ok(device && (major(stat.st_rdev), minor(stat.st_rdev)) == (want_major, want_minor))
}

/// The container's `/dev/null`, by descriptor and known to be the real one (CVE-2025-31133): what
/// a container may have put there never covers a masked path or becomes a process' stdio.
pub(crate) fn null(root: &Root, flags: OFlags) -> io::Result<OwnedFd> {
    let fd = root.open_without_links(Path::new("/dev/null"), flags)?;
    if is_device(fd.as_fd(), 1, 3)? { Ok(fd) } else { Err(Errno::NODEV.into()) }
}
