//! Names of a rotated log's files, and how they move.
//!
//! Rotation shifts `.1` to `.2` and so on, from the oldest down, then the current file to `.1`.
//! A crash anywhere leaves a gap in the numbers at worst, which readers and the next rotation
//! accept. A file keeps its inode when it is renamed; a compressed one records the inode of its
//! original in the gzip header, so that a reader that holds the original finds its successor.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One file of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// 0 is the current file, 1 the newest rotated one.
    pub index: u32,
    /// Whether it is compressed.
    pub gz: bool,
    /// Its inode.
    pub inode: u64,
    /// Where it is.
    pub path: PathBuf,
}

/// `path` with `.suffix`.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(suffix);
    name.into()
}

/// The plain file number `index`.
pub(crate) fn rotated(path: &Path, index: u32) -> PathBuf {
    if index == 0 { path.to_owned() } else { with_suffix(path, &index.to_string()) }
}

/// The compressed file number `index`.
pub(crate) fn rotated_gz(path: &Path, index: u32) -> PathBuf {
    with_suffix(path, &format!("{index}.gz"))
}

/// Moves every rotated file one number up; what falls off the end (`max_file` in all) is removed.
///
/// Errors are ignored but for the last step: a file that cannot be moved is overwritten by the
/// next one, which is what must happen to the oldest anyway. No current file is fine, too: an
/// earlier rotation got no further.
pub(crate) fn shift(path: &Path, max_file: u32) -> io::Result<()> {
    let last = max_file.saturating_sub(1);
    let _ = fs::remove_file(rotated(path, last));
    let _ = fs::remove_file(rotated_gz(path, last));
    for index in (1..last).rev() {
        let _ = fs::rename(rotated(path, index), rotated(path, index + 1));
        let _ = fs::rename(rotated_gz(path, index), rotated_gz(path, index + 1));
    }
    match fs::rename(path, rotated(path, 1)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Every file of the log, oldest first. With both a plain and a compressed file of one number (a
/// compression that was interrupted), the plain one.
///
/// The directory may change while it is read; two equal readings in a row are a consistent one.
pub fn list(path: &Path) -> io::Result<Vec<Entry>> {
    let mut before = list_once(path)?;
    for _ in 0..16 {
        let now = list_once(path)?;
        if now == before {
            break;
        }
        before = now;
    }
    Ok(before)
}

fn list_once(path: &Path) -> io::Result<Vec<Entry>> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut entries = Vec::new();
    let read = match fs::read_dir(if dir.as_os_str().is_empty() { Path::new(".") } else { dir }) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(entries),
        other => other?,
    };
    for file in read {
        let file = file?;
        let Some((index, gz)) = file.file_name().to_str().and_then(|file| parse_name(file, name)) else { continue };
        match fs::symlink_metadata(file.path()) {
            Ok(meta) if meta.is_file() => entries.push(Entry { index, gz, inode: meta.ino(), path: file.path() }),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    entries.sort_by_key(|e| (std::cmp::Reverse(e.index), e.gz));
    entries.dedup_by_key(|e| e.index);
    Ok(entries)
}

fn parse_name(file: &str, base: &str) -> Option<(u32, bool)> {
    let rest = file.strip_prefix(base)?;
    if rest.is_empty() {
        return Some((0, false));
    }
    let number = rest.strip_prefix('.')?;
    let (number, gz) = number.strip_suffix(".gz").map_or((number, false), |n| (n, true));
    let index: u32 = number.parse().ok()?;
    (index > 0 && number == index.to_string()).then_some((index, gz))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let base = "x-json.log";
        assert_eq!(parse_name("x-json.log", base), Some((0, false)));
        assert_eq!(parse_name("x-json.log.1", base), Some((1, false)));
        assert_eq!(parse_name("x-json.log.12.gz", base), Some((12, true)));
        for other in [
            "x-json.log.",
            "x-json.log.0",
            "x-json.log.01",
            "x-json.log.gz",
            "x-json.log.1.gz.tmp",
            "y",
            "x-json.log.+1",
        ] {
            assert_eq!(parse_name(other, base), None, "{other}");
        }
    }

    #[test]
    fn shifting_keeps_the_order_over_gaps() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("l");
        for (name, text) in [("l", "0"), ("l.1", "1"), ("l.3.gz", "3"), ("l.4", "4")] {
            fs::write(dir.path().join(name), text).expect("writes");
        }
        shift(&path, 5).expect("shifts");
        let names: Vec<_> = list(&path)
            .expect("lists")
            .into_iter()
            .map(|e| (e.index, e.gz, fs::read_to_string(e.path).expect("reads")))
            .collect();
        assert_eq!(names, [(4, true, "3".into()), (2, false, "1".into()), (1, false, "0".into())]);
        assert!(list(Path::new("/nonexistent/l")).expect("no directory is an empty log").is_empty());
    }
}
