//! A pseudo terminal of the container's own devpts.

use crate::failure::{Failure, OrFail, Result, Stage};
use crate::rootfs::resolve::{Make, Root};
use crate::rootfs::tree;
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;

/// Both ends.
pub(crate) struct Terminal {
    pub(crate) master: OwnedFd,
    pub(crate) slave: OwnedFd,
}

/// Opens a new terminal. The other end comes from the master itself, not from a path that the
/// container could have replaced (CVE-2025-52565).
pub(crate) fn open(root: &Root, (rows, cols): (u16, u16)) -> Result<Terminal> {
    let open = || -> io::Result<Terminal> {
        let master = root.open_without_links(Path::new("/dev/pts/ptmx"), OFlags::RDWR | OFlags::NOCTTY)?;
        if rustix::fs::fstatfs(&master)?.f_type as i64 != DEVPTS_SUPER_MAGIC {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        unlockpt(&master)?;
        let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        if (rows, cols) != (0, 0) {
            let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
            tcsetwinsize(&master, size)?;
        }
        Ok(Terminal { master, slave })
    };
    open().or_fail(Stage::Setup, || "open a terminal in the container")
}

/// Shows the terminal as `/dev/console`.
pub(crate) fn bind_console(root: &Root, slave: BorrowedFd<'_>) -> Result<()> {
    let bind = || {
        let console = Path::new("/dev/console");
        root.ensure(console, Make::File)?;
        let target = root.open_without_links(console, OFlags::PATH)?;
        tree::attach(tree::clone_tree(slave, false)?.as_fd(), target.as_fd())
    };
    bind().map_err(|e: io::Error| Failure::os(Stage::Mount, "bind the terminal to /dev/console", &e))
}
