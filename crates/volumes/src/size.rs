//! How much a directory tree holds.

use crate::copy::{MAX_DEPTH, open_dir};
use rustix::fs::{AtFlags, Dir, FileType, statat};
use rustix::io::Errno;
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// Bytes of the files below `path`, hard links counted once and directories not at all, as Docker
/// counts. Links are not followed, also when the tree changes meanwhile; what disappears is
/// skipped, and so is what lies deeper than a path can name.
pub fn tree_size(path: &Path) -> io::Result<u64> {
    let root = open_dir(rustix::fs::CWD, path)?;
    let mut seen = HashSet::new();
    size_below(root.as_fd(), &mut seen, 0)
}

fn size_below(dir: BorrowedFd<'_>, seen: &mut HashSet<(u64, u64)>, depth: usize) -> io::Result<u64> {
    let mut total = 0u64;
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(e) => return Err(e.into()),
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            if depth < MAX_DEPTH {
                match open_dir(dir, name) {
                    Ok(below) => total += size_below(below.as_fd(), seen, depth + 1)?,
                    // Gone, or replaced by something that is no directory.
                    Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => {}
                    Err(e) => return Err(e),
                }
            }
        } else if stat.st_nlink < 2 || seen.insert((stat.st_dev, stat.st_ino)) {
            total += u64::try_from(stat.st_size).unwrap_or(0);
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use std::fs;

    #[test]
    fn hard_links_count_once_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("sub")).unwrap();
        fs::write(path("sub/a"), [0u8; 100]).unwrap();
        fs::hard_link(path("sub/a"), path("b")).unwrap();
        std::os::unix::fs::symlink("/etc", path("l")).unwrap();
        assert_eq!(super::tree_size(dir.path()).unwrap(), 104);
        assert!(super::tree_size(&path("l")).is_err());
    }
}
