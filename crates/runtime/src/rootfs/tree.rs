//! Mounts as descriptors: made or cloned detached, changed, and attached to a descriptor. No step
//! names a path that could change its meaning in between.

use crate::spec::{MountFlags, Propagation};
use gantry_linux::mount::{Change, attr, set_attributes};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// A detached mount of a new file system. `options` are `key` or `key=value`; `source` among them
/// is what mount tables show, by default the type.
pub(crate) fn new_filesystem(kind: &str, options: &[&str]) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    let configure = || {
        if !options.iter().any(|o| o.starts_with("source=")) {
            fsconfig_set_string(&context, "source", kind)?;
        }
        for option in options {
            match option.split_once('=') {
                Some((key, value)) => fsconfig_set_string(&context, key, value)?,
                None => fsconfig_set_flag(&context, *option)?,
            }
        }
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
    };
    configure().map_err(|e| explain(&context, e))
}

/// The kernel's own words about a failed configuration, if it has any.
pub(crate) fn explain(context: &OwnedFd, error: impl Into<io::Error>) -> io::Error {
    let plain = error.into();
    let mut text = [0; 512];
    match rustix::io::read(context, &mut text[..]) {
        Ok(n) if n > 2 => {
            let words = String::from_utf8_lossy(&text[2..n]);
            io::Error::new(plain.kind(), format!("{} ({})", crate::failure::errno_text(&plain), words.trim()))
        }
        _ => plain,
    }
}

/// A detached clone of the mount that `fd` is in, with `fd` as its root.
pub(crate) fn clone_tree(fd: BorrowedFd<'_>, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(open_tree(fd, "", flags)?)
}

/// Attaches a detached mount on top of what `target` refers to.
pub(crate) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", target, "", flags)?)
}

/// Sets a mount's flags; those it has already stay.
pub(crate) fn set_flags(mount: BorrowedFd<'_>, flags: MountFlags, recursive: bool) -> io::Result<()> {
    let bits = [
        (flags.readonly, attr::RDONLY),
        (flags.nosuid, attr::NOSUID),
        (flags.nodev, attr::NODEV),
        (flags.noexec, attr::NOEXEC),
        (flags.noatime, attr::NOATIME),
        (flags.strictatime, attr::STRICTATIME),
        (flags.nodiratime, attr::NODIRATIME),
    ];
    let set = bits.iter().filter(|(wanted, _)| *wanted).fold(0, |set, (_, bit)| set | bit);
    if set == 0 {
        return Ok(());
    }
    // The access time modes are one value, not bits: to set one, the whole field is cleared.
    let clear = if set & attr::ATIME == 0 { 0 } else { attr::ATIME };
    set_attributes(mount, recursive, &Change::new(set, clear, 0))
}

/// Makes a mount read-only, whatever else it is.
pub(crate) fn set_readonly(mount: BorrowedFd<'_>, recursive: bool) -> io::Result<()> {
    set_attributes(mount, recursive, &Change::new(attr::RDONLY, 0, 0))
}

/// Sets a mount's propagation.
pub(crate) fn set_propagation(mount: BorrowedFd<'_>, propagation: Propagation) -> io::Result<()> {
    if matches!(propagation, Propagation::Private | Propagation::Slave) {
        // These are the mount's own. What is below it is a copy of the host's and must not lead back there; as in
        // Docker, what the host mounts there is seen.
        set_attributes(mount, true, &Change::new(0, 0, libc::MS_SLAVE))?;
    }
    let (kind, recursive) = match propagation {
        Propagation::Private => (libc::MS_PRIVATE, false),
        Propagation::RPrivate => (libc::MS_PRIVATE, true),
        Propagation::Shared => (libc::MS_SHARED, false),
        Propagation::RShared => (libc::MS_SHARED, true),
        Propagation::Slave => (libc::MS_SLAVE, false),
        Propagation::RSlave => (libc::MS_SLAVE, true),
    };
    set_attributes(mount, recursive, &Change::new(0, 0, kind))
}
