//! Two directory trees, entry by entry.

use rustix::{
    fd::{AsFd, AsRawFd, OwnedFd},
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, lgetxattr, llistxattr, open, openat, readlinkat, statat},
    io::Errno,
};
use std::{
    collections::{BTreeSet, HashMap},
    ffi::OsStr,
    fs::File,
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

const BUFFER: usize = 256 << 10;
/// Bytes of an extended attribute, by the kernel's own bound.
const XATTR: usize = 64 << 10;

/// Something that is not the same.
#[derive(Debug)]
pub(super) struct Difference {
    /// Relative to the root; empty for the root.
    pub(super) path: Vec<u8>,
    pub(super) what: String,
}

/// Compares the tree at `old` with the one at `fresh`, which was extracted after `started` and is right.
pub(super) fn compare(
    old: &Path,
    fresh: &Path,
    started: SystemTime,
    note: &mut dyn FnMut(Difference),
) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let roots = Pair { old: open(old, flags, Mode::empty())?, fresh: open(fresh, flags, Mode::empty())? };
    let started = started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let buffers = (vec![0; BUFFER], vec![0; BUFFER]);
    let mut comparison = Comparison { roots, started, inodes: HashMap::new(), buffers, note };
    comparison.root()?;
    // Paths rather than open descriptors: a hostile layer may be thousands of directories deep.
    let mut directories = vec![Vec::new()];
    while let Some(path) = directories.pop() {
        directories.extend(comparison.directory(&path)?);
    }
    Ok(())
}

struct Pair<T> {
    old: T,
    fresh: T,
}

impl<T> Pair<T> {
    fn map<U>(&self, mut of: impl FnMut(&T) -> Result<U, Errno>) -> Result<Pair<U>, Errno> {
        Ok(Pair { old: of(&self.old)?, fresh: of(&self.fresh)? })
    }
}

impl<T: PartialEq> Pair<T> {
    fn differ(&self) -> bool {
        self.old != self.fresh
    }
}

struct Comparison<'n> {
    roots: Pair<OwnedFd>,
    /// Seconds since the epoch when the fresh tree was begun.
    started: u64,
    /// Inodes of files with several names, old by fresh.
    inodes: HashMap<u64, u64>,
    buffers: (Vec<u8>, Vec<u8>),
    note: &'n mut dyn FnMut(Difference),
}

impl Comparison<'_> {
    fn note(&mut self, path: &[u8], what: impl Into<String>) {
        (self.note)(Difference { path: path.to_vec(), what: what.into() });
    }

    fn root(&mut self) -> io::Result<()> {
        let stats = self.roots.map(|root| fstat(root))?;
        let xattrs = self.roots.map(|fd| xattrs(fd, b"."))?;
        self.metadata(b"", &stats);
        if xattrs.differ() {
            self.note(b"", "the extended attributes of the root differ");
        }
        Ok(())
    }

    /// Compares what is in a directory; returns the directories in it that both have.
    fn directory(&mut self, path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let dirs = self.roots.map(|root| open_beneath(root, path, OFlags::DIRECTORY))?;
        let names = dirs.map(entries)?;
        let mut inner = Vec::new();
        for name in names.old.union(&names.fresh) {
            let whole = if path.is_empty() { name.clone() } else { [path, b"/", name].concat() };
            if !names.old.contains(name) {
                self.note(&whole, "it is missing");
            } else if !names.fresh.contains(name) {
                self.note(&whole, "it does not belong here");
            } else if self.entry(&dirs, name, &whole)? {
                inner.push(whole);
            }
        }
        Ok(inner)
    }

    /// Compares one entry; says whether it is a directory on both sides.
    fn entry(&mut self, dirs: &Pair<OwnedFd>, name: &[u8], path: &[u8]) -> io::Result<bool> {
        let stats = dirs.map(|dir| statat(dir, name, AtFlags::SYMLINK_NOFOLLOW))?;
        if !self.metadata(path, &stats) {
            return Ok(false);
        }
        if dirs.map(|dir| xattrs(dir, name))?.differ() {
            self.note(path, "its extended attributes differ");
        }
        match FileType::from_raw_mode(stats.fresh.st_mode) {
            FileType::Directory => return Ok(true),
            FileType::Symlink if dirs.map(|dir| readlinkat(dir, name, Vec::new()))?.differ() => {
                self.note(path, "it leads elsewhere");
            }
            FileType::RegularFile => self.file(dirs, name, path, &stats)?,
            _ => {}
        }
        Ok(false)
    }

    fn file(&mut self, dirs: &Pair<OwnedFd>, name: &[u8], path: &[u8], stats: &Pair<Stat>) -> io::Result<()> {
        if stats.fresh.st_nlink > 1 || stats.old.st_nlink > 1 {
            let known = self.inodes.insert(stats.fresh.st_ino, stats.old.st_ino);
            if stats.fresh.st_nlink != stats.old.st_nlink || known.is_some_and(|old| old != stats.old.st_ino) {
                self.note(path, "its hard links differ");
            } else if known.is_some() {
                return Ok(());
            }
        }
        if stats.fresh.st_size != stats.old.st_size {
            return Ok(());
        }
        let files = dirs.map(|dir| open_beneath(dir, name, OFlags::empty()))?;
        if !same_bytes(&mut File::from(files.old), &mut File::from(files.fresh), &mut self.buffers)? {
            self.note(path, "its contents differ");
        }
        Ok(())
    }

    /// Compares what `stat` tells; says whether both are of one type.
    fn metadata(&mut self, path: &[u8], stats: &Pair<Stat>) -> bool {
        let Pair { old, fresh } = stats;
        let kind = |stat: &Stat| FileType::from_raw_mode(stat.st_mode);
        if kind(old) != kind(fresh) {
            self.note(path, format!("it is a {:?} instead of a {:?}", kind(old), kind(fresh)));
            return false;
        }
        let directory = kind(fresh) == FileType::Directory;
        let mut numbers = vec![
            ("mode", u64::from(old.st_mode & 0o7777), u64::from(fresh.st_mode & 0o7777)),
            ("owner", old.st_uid.into(), fresh.st_uid.into()),
            ("group", old.st_gid.into(), fresh.st_gid.into()),
            ("device number", old.st_rdev, fresh.st_rdev),
        ];
        if !directory {
            numbers.push(("size", old.st_size.cast_unsigned(), fresh.st_size.cast_unsigned()));
        }
        for (what, is, should) in numbers {
            if is != should {
                let shown = if what == "mode" {
                    format!("{is:o} instead of {should:o}")
                } else {
                    format!("{is} instead of {should}")
                };
                self.note(path, format!("its {what} is {shown}"));
            }
        }
        // A directory that the archive does not mention, and a whiteout, have the time of their extraction.
        let whiteout = kind(fresh) == FileType::CharacterDevice && fresh.st_rdev == 0;
        let made_now =
            (directory || whiteout) && u64::try_from(fresh.st_mtime).is_ok_and(|mtime| mtime + 1 >= self.started);
        if (old.st_mtime, old.st_mtime_nsec) != (fresh.st_mtime, fresh.st_mtime_nsec) && !made_now {
            self.note(path, "its time of change differs");
        }
        true
    }
}

fn open_beneath(dir: impl AsFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    openat(dir, path, flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
}

fn entries(dir: &OwnedFd) -> Result<BTreeSet<Vec<u8>>, Errno> {
    let mut names = BTreeSet::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.insert(name.to_vec());
        }
    }
    Ok(names)
}

type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// The extended attributes of an entry, which may be a link or a device and must not be opened.
fn xattrs(dir: &OwnedFd, name: &[u8]) -> Result<Xattrs, Errno> {
    let path = [format!("/proc/self/fd/{}/", dir.as_raw_fd()).as_bytes(), name].concat();
    let path = OsStr::from_bytes(&path);
    // Most entries have none; an empty buffer only asks for the length.
    let none: &mut [u8] = &mut [];
    match llistxattr(path, none) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Ok(_) => {}
        Err(e) => return Err(e),
    }
    let mut list = vec![0; XATTR];
    let length = llistxattr(path, &mut list[..])?;
    let mut all = Vec::new();
    for key in list[..length].split(|byte| *byte == 0).filter(|key| !key.is_empty()) {
        let mut value = vec![0; XATTR];
        let length = lgetxattr(path, key, &mut value[..])?;
        value.truncate(length);
        all.push((key.to_vec(), value));
    }
    all.sort_unstable();
    Ok(all)
}

fn same_bytes(one: &mut File, other: &mut File, buffers: &mut (Vec<u8>, Vec<u8>)) -> io::Result<bool> {
    let (a, b) = buffers;
    loop {
        let length = fill(one, a)?;
        if fill(other, b)? != length || a[..length] != b[..length] {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
    }
}

fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(length)
}
