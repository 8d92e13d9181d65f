//! Mount attributes, for which no library has a wrapper.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `MOUNT_ATTR_*`.
pub mod attr {
    /// Read-only.
    pub const RDONLY: u64 = 0x1;
    /// Set-id bits have no effect.
    pub const NOSUID: u64 = 0x2;
    /// Device nodes cannot be opened.
    pub const NODEV: u64 = 0x4;
    /// Nothing can be executed.
    pub const NOEXEC: u64 = 0x8;
    /// The bits that say how access times are kept; a change must clear all of them.
    pub const ATIME: u64 = 0x70;
    /// Never update access times.
    pub const NOATIME: u64 = 0x10;
    /// Always update access times.
    pub const STRICTATIME: u64 = 0x20;
    /// The access times of directories are not kept.
    pub const NODIRATIME: u64 = 0x80;
}

/// A change of a mount's attributes: bits to set, bits to clear, `MS_*` propagation or 0.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct Change {
    /// Bits of [`attr`].
    pub set: u64,
    /// Bits of [`attr`].
    pub clear: u64,
    /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED` or 0 for none.
    pub propagation: u64,
    /// For idmapped mounts; 0 unless `MOUNT_ATTR_IDMAP` is set.
    user_namespace: u64,
}

/// `MOUNT_ATTR_IDMAP`.
const IDMAP: u64 = 0x10_0000;

impl Change {
    /// A change of nothing, to be filled in.
    pub fn new(set: u64, clear: u64, propagation: u64) -> Self {
        Self { set, clear, propagation, user_namespace: 0 }
    }
}

/// Has a detached mount show its files' ids as those of a user namespace: id 0 of the file system becomes what 0 of the
/// namespace is. Since 5.12, for file systems that can do it.
pub fn map_ids(mount: BorrowedFd<'_>, recursive: bool, user_namespace: BorrowedFd<'_>) -> io::Result<()> {
    let namespace = user_namespace.as_raw_fd() as u64;
    set_attributes(mount, recursive, &Change { set: IDMAP, user_namespace: namespace, ..Change::default() })
}

/// `mount_setattr` on the mount that `fd` is the root of, and those below it if `recursive`.
pub fn set_attributes(fd: BorrowedFd<'_>, recursive: bool, change: &Change) -> io::Result<()> {
    const AT_RECURSIVE: i32 = 0x8000;
    let flags = libc::AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: `Change` has the layout of `struct mount_attr`, and its size is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(change),
            size_of::<Change>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
