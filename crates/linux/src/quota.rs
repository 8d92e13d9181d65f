//! Project quotas: limits on what a directory tree takes, on file systems that keep them (XFS, ext4).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `struct fsxattr`.
#[repr(C)]
#[derive(Default, Clone, Copy)]
struct FileAttributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    padding: [u8; 8],
}

/// `struct fs_disk_quota`; the fields that are not set stay zero and are not in the mask.
#[repr(C)]
#[derive(Default)]
struct DiskQuota {
    version: i8,
    flags: i8,
    field_mask: u16,
    id: u32,
    block_hard: u64,
    block_soft: u64,
    inode_hard: u64,
    inode_soft: u64,
    blocks: u64,
    inodes: u64,
    timers: [i32; 2],
    warnings: [u16; 2],
    timers_high: [i8; 4],
    realtime: [u64; 3],
    realtime_timer: i32,
    realtime_warnings: u16,
    padding: [u8; 10],
}

const FS_IOC_FSGETXATTR: u32 = 0x801c_581f;
const FS_IOC_FSSETXATTR: u32 = 0x401c_5820;
/// What is made in the directory belongs to its project.
const PROJECT_INHERIT: u32 = 0x200;
/// The same number on every architecture.
const SYS_QUOTACTL_FD: libc::c_long = 443;
const Q_XSETQLIM: u32 = 0x5804;
const PROJECT_QUOTA: u32 = 2;
const HARD_AND_SOFT: u16 = (1 << 3) | (1 << 2);
const QUOTA_VERSION: i8 = 1;
const QUOTA_OF_PROJECT: i8 = 2;
/// Limits are counted in these.
const BLOCK: u64 = 512;

fn attributes(dir: BorrowedFd<'_>) -> io::Result<FileAttributes> {
    let mut found = FileAttributes::default();
    // SAFETY: the call fills a `struct fsxattr`, which `found` is, and which outlives it.
    let result = unsafe { libc::ioctl(dir.as_raw_fd(), FS_IOC_FSGETXATTR as _, &raw mut found) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(found) }
}

/// The project that a directory belongs to; 0 for none.
pub fn project(dir: BorrowedFd<'_>) -> io::Result<u32> {
    attributes(dir).map(|found| found.project)
}

/// Puts a directory, and what is made in it from now on, into a project.
pub fn set_project(dir: BorrowedFd<'_>, project: u32) -> io::Result<()> {
    let mut wanted = attributes(dir)?;
    wanted.project = project;
    wanted.flags |= PROJECT_INHERIT;
    // SAFETY: the call reads a `struct fsxattr`, which `wanted` is.
    let result = unsafe { libc::ioctl(dir.as_raw_fd(), FS_IOC_FSSETXATTR as _, &raw const wanted) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Limits a project on the file system of `dir` to so many bytes; 0 lifts the limit.
pub fn limit_project(dir: BorrowedFd<'_>, project: u32, bytes: u64) -> io::Result<()> {
    let limit = bytes.div_ceil(BLOCK);
    let quota = DiskQuota {
        version: QUOTA_VERSION,
        flags: QUOTA_OF_PROJECT,
        field_mask: HARD_AND_SOFT,
        id: project,
        block_hard: limit,
        block_soft: limit,
        ..DiskQuota::default()
    };
    let command = (Q_XSETQLIM << 8) | PROJECT_QUOTA;
    // SAFETY: the call reads a `struct fs_disk_quota`, which `quota` is.
    let result =
        unsafe { libc::syscall(SYS_QUOTACTL_FD, dir.as_raw_fd(), command, project, std::ptr::from_ref(&quota)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_the_kernel_s() {
        assert_eq!((size_of::<FileAttributes>(), size_of::<DiskQuota>()), (28, 112));
    }
}
