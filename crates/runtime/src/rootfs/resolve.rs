//! Paths inside a container's root.
//!
//! Every look-up is an `openat2` below the root's descriptor, so a link, whoever makes it and
//! however fast, leads to some place *in* the root (CVE-2019-19921, CVE-2021-30465). What is missing
//! is made one component at a time on descriptors of directories that are known to be inside.

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, mkdirat, mknodat, openat2, readlinkat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;

/// What a path's last component is to be when it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    Directory,
    File,
}

/// A directory that paths are resolved in as if it were `/`.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

impl Root {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Opens `path`, following links inside the root.
    pub(crate) fn open(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        self.openat2(path, flags, resolve)
    }

    /// Opens `path` if no part of it is a link.
    pub(crate) fn open_without_links(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        self.openat2(path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS)
    }

    fn openat2(&self, path: &Path, flags: OFlags, resolve: ResolveFlags) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new("/") } else { path };
        // EAGAIN: somebody renames things just now and the kernel could not be sure.
        loop {
            match openat2(&self.0, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                other => return Ok(other?),
            }
        }
    }

    /// Opens `path` as `O_PATH`, making what is missing of it. Where a directory is wanted, only one
    /// will do; what is there for a file may be anything.
    pub(crate) fn ensure(&self, path: &Path, make: Make) -> io::Result<OwnedFd> {
        let kind = if make == Make::Directory { OFlags::DIRECTORY } else { OFlags::empty() };
        match self.open(path, OFlags::PATH | kind) {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => self.make(path, make),
            other => other,
        }
    }

    /// The directory that holds `path`'s last component (made if missing), and that component.
    pub(crate) fn ensure_parent<'p>(&self, path: &'p Path) -> io::Result<(OwnedFd, &'p OsStr)> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        Ok((self.ensure(path.parent().unwrap_or(Path::new("/")), Make::Directory)?, name))
    }

    fn make(&self, path: &Path, make: Make) -> io::Result<OwnedFd> {
        let mut walk = Walk { root: self, done: PathBuf::from("/"), at: self.top()?, links: 0 };
        let mut pending = components(path);
        while let Some(part) = pending.pop_front() {
            let make = if pending.is_empty() { make } else { Make::Directory };
            if let Some(link) = walk.step(&part, make)? {
                for part in components(&link).into_iter().rev() {
                    pending.push_front(part);
                }
            }
        }
        Ok(walk.at)
    }

    fn top(&self) -> io::Result<OwnedFd> {
        self.open(Path::new("/"), OFlags::PATH | OFlags::DIRECTORY)
    }
}

fn components(path: &Path) -> VecDeque<OsString> {
    let named = |c: Component<'_>| match c {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    };
    path.components().filter_map(named).collect()
}

/// Where [`Root::make`] has got to.
struct Walk<'r> {
    root: &'r Root,
    /// The path of `at` when it was reached: text only, for `..`; the truth is the descriptor.
    done: PathBuf,
    at: OwnedFd,
    links: usize,
}

impl Walk<'_> {
    /// Goes down one component; returns a link's target instead of following it.
    fn step(&mut self, part: &OsStr, make: Make) -> io::Result<Option<PathBuf>> {
        if part == ".." {
            self.done.pop();
            self.at = self.root.open(&self.done, OFlags::PATH | OFlags::DIRECTORY)?;
            return Ok(None);
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(&self.at, part, flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                match make {
                    Make::Directory => mkdirat(&self.at, part, Mode::from_raw_mode(0o755)),
                    Make::File => mknodat(&self.at, part, FileType::RegularFile, Mode::from_raw_mode(0o644), 0),
                }
                // Somebody else may have made it meanwhile; what it is, the next open tells.
                .or_else(|e| if e == Errno::EXIST { Ok(()) } else { Err(e) })?;
                rustix::fs::openat(&self.at, part, flags, Mode::empty())?
            }
            other => other?,
        };
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode);
        if kind == FileType::Symlink {
            return self.link(part).map(Some);
        }
        if kind != FileType::Directory && make == Make::Directory {
            return Err(Errno::NOTDIR.into());
        }
        self.done.push(part);
        self.at = fd;
        Ok(None)
    }

    fn link(&mut self, part: &OsStr) -> io::Result<PathBuf> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        let target = readlinkat(&self.at, part, Vec::new())?;
        let target = PathBuf::from(OsStr::from_bytes(target.as_bytes()));
        if target.is_absolute() {
            self.done = PathBuf::from("/");
            self.at = self.root.top()?;
        }
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn root(dir: &Path) -> Root {
        Root::new(fs::File::open(dir).unwrap().into())
    }

    #[test]
    fn links_stay_inside_and_missing_parts_are_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        fs::create_dir(path.join("etc")).unwrap();
        symlink("/run/dangling", path.join("var")).unwrap();
        symlink("../../../../../run/up", path.join("etc/up")).unwrap();
        symlink("../run/systemd/resolv.conf", path.join("etc/resolv.conf")).unwrap();
        let root = root(path);
        root.ensure(Path::new("/var/lib/x"), Make::Directory).unwrap();
        assert!(path.join("run/dangling/lib/x").is_dir());
        root.ensure(Path::new("/etc/up/file"), Make::File).unwrap();
        assert!(path.join("run/up/file").is_file());
        root.ensure(Path::new("/etc/resolv.conf"), Make::File).unwrap();
        assert!(path.join("run/systemd/resolv.conf").is_file());
        root.ensure(Path::new("/a/../b/./c"), Make::Directory).unwrap();
        assert!(path.join("b/c").is_dir());
    }

    #[test]
    fn loops_files_and_the_root_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        symlink("loop", path.join("loop")).unwrap();
        fs::write(path.join("file"), "").unwrap();
        let root = root(path);
        let error = |p: &str| root.ensure(Path::new(p), Make::Directory).unwrap_err().raw_os_error();
        assert_eq!(error("/loop/x"), Some(libc::ELOOP));
        assert_eq!(error("/file/x"), Some(libc::ENOTDIR));
        assert_eq!(error("/file"), Some(libc::ENOTDIR));
        assert!(root.ensure(Path::new("/"), Make::Directory).is_ok());
        assert!(root.ensure(Path::new("/../.."), Make::Directory).is_ok());
        assert_eq!(
            root.open_without_links(Path::new("/loop"), OFlags::PATH).unwrap_err().raw_os_error(),
            Some(libc::ELOOP)
        );
    }
}
