//! Filling a directory that cannot be exchanged for another: one that is mounted, that a container uses, or that is a
//! part of a volume.
//!
//! The copy grows in a directory of its own on the same file system. When it is whole, that gets a second name: from
//! then on the fill has happened, and what is in it is moved into place, entry by entry. Whoever finds the first name
//! after a crash deletes it; whoever finds the second one moves the rest. What others have put into place meanwhile stays.

use crate::copy::{MAX_DEPTH, finish, open_dir};
use rustix::fs::{AtFlags, Dir, FileType, Mode, RenameFlags, mkdirat, renameat, renameat_with, statat, unlinkat};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Where a fill grows and where it is whole: two names in one directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage<'a> {
    pub(crate) parent: BorrowedFd<'a>,
    pub(crate) growing: &'a str,
    pub(crate) whole: &'a str,
}

impl Stage<'_> {
    /// Fills `to` with what `copy` writes, or leaves nothing.
    pub(crate) fn fill(
        &self,
        to: BorrowedFd<'_>,
        copy: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        remove(self.parent, self.growing)?;
        let prepared = || -> io::Result<()> {
            mkdirat(self.parent, self.growing, Mode::RWXU)?;
            let growing = open_dir(self.parent, self.growing)?;
            // As the directory is, if the copy does not say otherwise.
            finish(to, growing.as_fd())?;
            copy(growing.as_fd())?;
            Ok(renameat(self.parent, self.growing, self.parent, self.whole)?)
        };
        if let Err(e) = prepared() {
            remove(self.parent, self.growing)?;
            return Err(e);
        }
        self.settle(to)
    }

    /// Finishes or undoes what [`Self::fill`] has begun, if it has.
    pub(crate) fn settle(&self, to: BorrowedFd<'_>) -> io::Result<()> {
        remove(self.parent, self.growing)?;
        let whole = match open_dir(self.parent, self.whole) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for name in names(whole.as_fd())? {
            move_out(whole.as_fd(), &name, to)?;
        }
        finish(whole.as_fd(), to)?;
        remove(self.parent, self.whole)
    }
}

/// Moves an entry unless there is one of its name.
fn move_out(from: BorrowedFd<'_>, name: &CStr, to: BorrowedFd<'_>) -> io::Result<()> {
    match renameat_with(from, name, to, name, RenameFlags::NOREPLACE) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        // Network file systems and FUSE may not know the flag.
        Err(Errno::INVAL | Errno::NOSYS) => match statat(to, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(renameat(from, name, to, name)?),
            other => Ok(other.map(drop)?),
        },
        Err(e) => Err(e.into()),
    }
}

/// Read at once: what is moved or deleted while a directory is read may hide others.
fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(dir)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            found.push(name);
        }
    }
    Ok(found)
}

/// Deletes what is called `name`, following no link: containers may write where this works.
fn remove(parent: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let name = CString::new(name)?;
    let Some(top) = enter_or_unlink(parent, &name)? else { return Ok(()) };
    // Directories on the way down, each with the names in it that are left.
    let mut way = vec![(names(top.as_fd())?, top, name)];
    while let Some((left, dir, _)) = way.last_mut() {
        if let Some(next) = left.pop() {
            if let Some(inner) = enter_or_unlink(dir.as_fd(), &next)? {
                if way.len() > MAX_DEPTH {
                    return Err(io::Error::other("directories are nested too deeply"));
                }
                way.push((names(inner.as_fd())?, inner, next));
            }
            continue;
        }
        let (.., name) = way.pop().expect("the loop has just looked at it");
        let above = way.last().map_or(parent, |(_, dir, _)| dir.as_fd());
        match unlinkat(above, &name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// A directory to empty first; anything else is gone.
fn enter_or_unlink(at: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<OwnedFd>> {
    match statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => open_dir(at, name).map(Some),
        Ok(_) => Ok(unlinkat(at, name, AtFlags::empty()).map(|()| None)?),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::copy_tree;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    fn open(path: &Path) -> OwnedFd {
        open_dir(rustix::fs::CWD, path).unwrap()
    }

    fn stage(parent: &OwnedFd) -> Stage<'_> {
        Stage { parent: parent.as_fd(), growing: ".growing", whole: ".whole" }
    }

    fn listed(dir: &Path) -> Vec<String> {
        let mut all: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        all.sort();
        all
    }

    #[test]
    fn all_of_it_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("sub/deep")).unwrap();
        fs::write(from.join("file"), "1").unwrap();
        fs::set_permissions(&from, fs::Permissions::from_mode(0o1770)).unwrap();
        fs::create_dir(&to).unwrap();
        let target = open(&to);
        let failed = stage(&target).fill(target.as_fd(), |half| {
            copy_tree(open(&from).as_fd(), half)?;
            Err(io::Error::other("no more"))
        });
        assert!(failed.is_err());
        assert!(listed(&to).is_empty());
        stage(&target).fill(target.as_fd(), |whole| copy_tree(open(&from).as_fd(), whole)).unwrap();
        assert_eq!(listed(&to), ["file", "sub"]);
        assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o7777, 0o1770);
    }

    #[test]
    fn what_a_crash_leaves_is_finished_or_undone() {
        let dir = tempfile::tempdir().unwrap();
        let (to, outside) = (dir.path().join("to"), dir.path().join("outside"));
        fs::create_dir_all(to.join(".growing/a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        symlink(&outside, to.join(".growing/a/link")).unwrap();
        let target = open(&to);
        stage(&target).settle(target.as_fd()).unwrap();
        assert!(listed(&to).is_empty());
        assert_eq!(listed(&outside), ["kept"]);

        fs::create_dir_all(to.join(".whole/sub")).unwrap();
        fs::write(to.join(".whole/file"), "image").unwrap();
        fs::write(to.join("file"), "container").unwrap();
        stage(&target).settle(target.as_fd()).unwrap();
        assert_eq!(listed(&to), ["file", "sub"]);
        assert_eq!(fs::read(to.join("file")).unwrap(), b"container");

        // A link in the place of what was whole leads nowhere.
        symlink(&outside, to.join(".whole")).unwrap();
        assert!(stage(&target).settle(target.as_fd()).is_err());
        assert_eq!(listed(&outside), ["kept"]);
    }
}
