//! How much directory trees hold.

use crate::copy::{MAX_DEPTH, open_dir};
use rustix::fs::{AtFlags, FileType, RawDir, statat};
use rustix::io::Errno;
use std::collections::HashSet;
use std::io;
use std::num::NonZero;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// As many names as one call of the kernel brings.
const NAMES: usize = 8 << 10;
/// Trees for which a thread of their own is worth its making: an empty one takes ten microseconds, a thread thirty.
const TREES_A_THREAD: usize = 16;
/// More threads than this wait for the disk and for each other.
const MAX_THREADS: usize = 4;

/// Bytes of the files below `path`, hard links counted once and directories not at all, as Docker
/// counts. Links are not followed, also when the tree changes meanwhile; what disappears is
/// skipped, and so is what lies deeper than a path can name.
pub fn tree_size(path: &Path) -> io::Result<u64> {
    let root = open_dir(rustix::fs::CWD, path)?;
    let mut seen = HashSet::new();
    size_below(root.as_fd(), &mut seen, 0)
}

/// The sizes of several trees, in their order, a few side by side; `None` for one that could not be read. Blocks.
pub fn tree_sizes(paths: &[PathBuf]) -> Vec<Option<u64>> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
    let threads = threads.min(paths.len().div_ceil(TREES_A_THREAD));
    if threads < 2 {
        return paths.iter().map(|path| tree_size(path).ok()).collect();
    }
    let sizes: Vec<OnceLock<Option<u64>>> = paths.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        // One at a time: a large tree must not keep those behind it waiting for its thread.
        while let Some((path, size)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|n| paths.get(n).zip(sizes.get(n)))
        {
            size.set(tree_size(path).ok()).expect("each tree is one thread's");
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // Where no thread can be had, this one does it alone.
            drop(thread::Builder::new().name("size".to_owned()).spawn_scoped(scope, work));
        }
        work();
    });
    sizes.into_iter().map(|size| size.into_inner().flatten()).collect()
}

fn size_below(dir: BorrowedFd<'_>, seen: &mut HashSet<(u64, u64)>, depth: usize) -> io::Result<u64> {
    let mut total = 0u64;
    let mut names: Vec<u8> = Vec::with_capacity(NAMES);
    let mut entries = RawDir::new(dir, names.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        // What the directory says is a hint that the file system may leave out; a directory is opened as one anyway.
        let is_dir = match entry.file_type() {
            FileType::Directory => true,
            kind => {
                let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => stat,
                    Err(Errno::NOENT) => continue,
                    Err(e) => return Err(e.into()),
                };
                let is_dir = kind == FileType::Unknown && FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                if !is_dir && (stat.st_nlink < 2 || seen.insert((stat.st_dev, stat.st_ino))) {
                    total += u64::try_from(stat.st_size).unwrap_or(0);
                }
                is_dir
            }
        };
        if is_dir && depth < MAX_DEPTH {
            match open_dir(dir, name) {
                Ok(below) => total += size_below(below.as_fd(), seen, depth + 1)?,
                // Gone, or replaced by something that is no directory.
                Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => {}
                Err(e) => return Err(e),
            }
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
    #[test]
    fn many_trees_keep_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..100).map(|n| dir.path().join(n.to_string())).collect();
        for (n, path) in paths.iter().enumerate().filter(|(n, _)| n % 10 != 3) {
            fs::create_dir_all(path.join("a/b")).unwrap();
            fs::write(path.join("a/b/file"), vec![0u8; n]).unwrap();
        }
        let expected: Vec<_> = (0..100u64).map(|n| (n % 10 != 3).then_some(n)).collect();
        assert_eq!(super::tree_sizes(&paths), expected);
        assert_eq!(super::tree_sizes(&paths[..5]), expected[..5]);
        assert_eq!(super::tree_sizes(&[]), []);
    }

    #[test]
    fn a_directory_of_many_names() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..2000 {
            fs::write(dir.path().join(format!("a-name-that-is-rather-long-{n}")), "x").unwrap();
        }
        assert_eq!(super::tree_size(dir.path()).unwrap(), 2000);
    }
}
