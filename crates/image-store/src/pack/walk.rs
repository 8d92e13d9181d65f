//! Down a tree by descriptors: no name is ever resolved twice, no link followed, no special file opened.

use rustix::{
    fd::OwnedFd,
    fs::{Dir, FileType, Mode, OFlags, Stat, fstat, openat},
    io::Errno,
};
use std::{io, vec};

/// Bytes of names that are held at once, in all directories on the way down.
const MAX_NAMES: usize = 64 << 20;
/// A directory's share is never less.
const MIN_NAMES: usize = 64 << 10;
/// Each level holds a descriptor.
const MAX_DEPTH: usize = 1024;

/// Something in the tree.
#[derive(Debug)]
pub struct Found {
    /// Opened with `O_PATH`: it pins what was found and does nothing to it.
    pub fd: OwnedFd,
    /// What it is.
    pub stat: Stat,
}

impl Found {
    /// Looks at what `fd` is.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { stat: fstat(&fd)?, fd })
    }

    /// Its type.
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Whether overlayfs marks a name as removed by it.
    pub fn is_whiteout(&self) -> bool {
        self.kind() == FileType::CharacterDevice && self.stat.st_rdev == 0
    }

    /// Whether it is a directory that hides those of the layers below.
    pub fn is_opaque(&self) -> io::Result<bool> {
        if self.kind() == FileType::Directory { super::object::is_opaque(self) } else { Ok(false) }
    }

    /// The attributes that belong to a file wherever it is.
    pub fn xattrs(&self) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        super::object::attributes(self)
    }

    /// Where a symbolic link leads.
    pub fn target(&self) -> io::Result<Vec<u8>> {
        super::object::target(self)
    }

    /// The capabilities that the file gives.
    pub fn capabilities(&self) -> io::Result<Option<Vec<u8>>> {
        if self.kind() == FileType::RegularFile { super::object::capabilities(self) } else { Ok(None) }
    }
}

/// A step of a walk.
#[derive(Debug)]
pub enum Step {
    /// The walk came upon this; [`Walk::enter`] goes into it.
    Found(Found),
    /// The walk left the directory that is now [`Walk::path`].
    Left,
}

/// A walk, in the order of the names within each directory. A directory of millions is sorted piece by piece, so that
/// memory stays bounded.
pub struct Walk {
    levels: Vec<Level>,
    path: Vec<u8>,
    held: usize,
}

struct Level {
    dir: Dir,
    names: vec::IntoIter<Vec<u8>>,
    /// Bytes of the names.
    size: usize,
    /// Where in the path the names begin.
    at: usize,
}

impl Walk {
    /// A walk through `dir`, whose entries get paths that begin with `prefix`.
    pub fn new(dir: &OwnedFd, prefix: &[u8]) -> io::Result<Self> {
        let mut walk = Self { levels: Vec::new(), path: prefix.to_vec(), held: 0 };
        walk.push(dir, prefix.len())?;
        Ok(walk)
    }

    /// The path of what the last step was about.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The name of it.
    pub fn name(&self) -> &[u8] {
        self.path.rsplit(|&b| b == b'/').next().unwrap_or_default()
    }

    /// Goes into a directory that the last step found.
    pub fn enter(&mut self, found: &Found) -> io::Result<()> {
        if self.levels.len() >= MAX_DEPTH {
            return Err(io::Error::new(io::ErrorKind::InvalidFilename, "directories are nested too deeply"));
        }
        self.path.push(b'/');
        let at = self.path.len();
        self.push(&found.fd, at)
    }

    /// The next step; `None` after the last. What vanishes while it is looked at was never there.
    pub fn step(&mut self) -> io::Result<Option<Step>> {
        loop {
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            let Some(name) = level.names.next() else {
                if self.refill()? {
                    continue;
                }
                return Ok(self.leave());
            };
            self.path.truncate(level.at);
            self.path.extend_from_slice(&name);
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(level.dir.fd()?, name, flags, Mode::empty()) {
                Ok(fd) => return Ok(Some(Step::Found(Found::new(fd)?))),
                Err(Errno::NOENT) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn push(&mut self, dir: &OwnedFd, at: usize) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = Dir::new(openat(dir, c".", flags, Mode::empty())?)?;
        self.levels.push(Level { dir, names: Vec::new().into_iter(), size: 0, at });
        Ok(())
    }

    /// The next piece of the directory's names; false at its end.
    fn refill(&mut self) -> io::Result<bool> {
        let Some(level) = self.levels.last_mut() else { return Ok(false) };
        self.held -= std::mem::take(&mut level.size);
        let share = (MAX_NAMES.saturating_sub(self.held) / 2).max(MIN_NAMES);
        let mut names = Vec::new();
        while level.size < share {
            let Some(entry) = level.dir.read() else { break };
            let entry = match entry {
                // The directory was removed meanwhile.
                Err(Errno::NOENT) => break,
                entry => entry?,
            };
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                level.size += name.len() + size_of::<Vec<u8>>();
                names.push(name.to_vec());
            }
        }
        self.held += level.size;
        names.sort_unstable();
        let more = !names.is_empty();
        level.names = names.into_iter();
        Ok(more)
    }

    fn leave(&mut self) -> Option<Step> {
        let level = self.levels.pop()?;
        self.held -= level.size;
        if self.levels.is_empty() {
            return None;
        }
        self.path.truncate(level.at - 1);
        Some(Step::Left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn everything_once_in_order() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("b/c")).unwrap();
        for name in ["b/x", "b/c/y", "a", "z"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        std::os::unix::fs::symlink("b", dir.path().join("link")).unwrap();
        let root = fs::File::open(dir.path()).unwrap().into();
        let mut walk = Walk::new(&root, b"r/").unwrap();
        let mut seen = Vec::new();
        while let Some(step) = walk.step().unwrap() {
            let path = String::from_utf8_lossy(walk.path()).into_owned();
            match step {
                Step::Left => seen.push(format!("<{path}")),
                Step::Found(found) => {
                    seen.push(path);
                    if found.kind() == FileType::Directory {
                        walk.enter(&found).unwrap();
                    }
                }
            }
        }
        assert_eq!(seen, ["r/a", "r/b", "r/b/c", "r/b/c/y", "<r/b/c", "r/b/x", "<r/b", "r/link", "r/z"]);
    }

    #[test]
    fn nesting_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let mut at: OwnedFd = fs::File::open(dir.path()).unwrap().into();
        for _ in 0..=MAX_DEPTH {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = openat(&at, "d", OFlags::PATH, Mode::empty()).unwrap();
        }
        let mut walk = Walk::new(&fs::File::open(dir.path()).unwrap().into(), b"").unwrap();
        let outcome = loop {
            match walk.step() {
                Ok(Some(Step::Found(found))) => {
                    if let Err(e) = walk.enter(&found) {
                        break e;
                    }
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(outcome.kind(), io::ErrorKind::InvalidFilename);
    }
}
