//! Copying an image's directory into a new volume, with everything that belongs to a file.

use rustix::fs::{
    AtFlags, Dev, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat,
    copy_file_range, fchmod, fchown, fgetxattr, flistxattr, fsetxattr, fstat, futimens, linkat, mkdirat, mknodat,
    openat, readlinkat, statat, symlinkat, utimensat,
};
use rustix::io::Errno;
use rustix::path::Arg;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Directories below each other that are entered; each costs a descriptor.
pub(crate) const MAX_DEPTH: usize = 1000;

/// Opens a directory without following a link in its place.
pub(crate) fn open_dir<P: Arg, F: AsFd>(at: F, name: P) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}

/// Copies what is in the directory `from` into the empty directory `to`, and the directory's own
/// owner, mode, times and extended attributes onto it. Hard links inside the tree stay links.
pub fn copy_tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    Copier { to_root: to, links: HashMap::new(), path: Vec::new() }.directory(from, to)
}

struct Copier<'a> {
    to_root: BorrowedFd<'a>,
    /// Where the first name of a file with several went.
    links: HashMap<(u64, u64), CString>,
    /// Names from the root to here.
    path: Vec<CString>,
}

impl Copier<'_> {
    fn directory(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
        if self.path.len() > MAX_DEPTH {
            return Err(io::Error::other("directories are nested too deeply"));
        }
        for entry in Dir::read_from(from)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
            self.path.push(name.to_owned());
            self.entry(from, to, name, &stat)?;
            self.path.pop();
        }
        // Last, because copying into it changes its times.
        finish(from, to)
    }

    fn entry(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> io::Result<()> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            mkdirat(to, name, Mode::RWXU)?;
            return self.directory(open_dir(from, name)?.as_fd(), open_dir(to, name)?.as_fd());
        }
        if stat.st_nlink > 1 {
            let key = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&key) {
                return Ok(linkat(self.to_root, first, to, name, AtFlags::empty())?);
            }
            self.links.insert(key, self.joined());
        }
        match kind {
            FileType::RegularFile => regular(from, to, name),
            FileType::Symlink => {
                symlinkat(readlinkat(from, name, Vec::new())?, to, name)?;
                chownat(to, name, Some(owner(stat)), Some(group(stat)), AtFlags::SYMLINK_NOFOLLOW)?;
                Ok(utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?)
            }
            _ => {
                mknodat(to, name, kind, Mode::from_raw_mode(stat.st_mode), stat.st_rdev as Dev)?;
                chownat(to, name, Some(owner(stat)), Some(group(stat)), AtFlags::SYMLINK_NOFOLLOW)?;
                chmodat(to, name, Mode::from_raw_mode(stat.st_mode), AtFlags::empty())?;
                Ok(utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?)
            }
        }
    }

    fn joined(&self) -> CString {
        let parts: Vec<&[u8]> = self.path.iter().map(|name| name.to_bytes()).collect();
        CString::new(parts.join(&b'/')).expect("directory entries have no NUL")
    }
}

fn regular(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let source = openat(from, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
    loop {
        match copy_file_range(&source, None, &target, None, 1 << 30) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            // Different kinds of file systems; nothing was copied yet, so go on from where both stand.
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                copy_by_hand(&source, &target)?;
                break;
            }
            Err(e) => return Err(e.into()),
        }
    }
    finish(source.as_fd(), target.as_fd())
}

fn copy_by_hand(source: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
    let (mut source, mut target) = (std::fs::File::from(source.try_clone()?), std::fs::File::from(target.try_clone()?));
    let mut buffer = vec![0u8; 128 << 10];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => target.write_all(&buffer[..n])?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Owner, mode (after the owner: chown clears set-id bits), extended attributes (after both: chown
/// drops file capabilities) and times.
pub(crate) fn finish(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let stat = fstat(from)?;
    fchown(to, Some(owner(&stat)), Some(group(&stat)))?;
    fchmod(to, Mode::from_raw_mode(stat.st_mode))?;
    xattrs(from, to)?;
    Ok(futimens(to, &times(&stat))?)
}

fn xattrs(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let mut names = vec![0u8; 64 << 10];
    let length = match flistxattr(from, names.as_mut_slice()) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    let mut value = vec![0u8; 64 << 10];
    for name in names[..length].split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let length = match fgetxattr(from, name, value.as_mut_slice()) {
            Ok(length) => length,
            Err(Errno::NODATA) => continue,
            Err(e) => return Err(e.into()),
        };
        match fsetxattr(to, name, &value[..length], XattrFlags::empty()) {
            // The volume's file system may know fewer kinds than the image's.
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn owner(stat: &Stat) -> Uid {
    Uid::from_raw(stat.st_uid)
}

fn group(stat: &Stat) -> Gid {
    Gid::from_raw(stat.st_gid)
}

fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime as _, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime as _, tv_nsec: stat.st_mtime_nsec as _ },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[test]
    fn everything_of_a_file_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("sub/file"), b"text").unwrap();
        fs::hard_link(from.join("sub/file"), from.join("link")).unwrap();
        std::os::unix::fs::symlink("/nowhere", from.join("sym")).unwrap();
        mknodat(rustix::fs::CWD, from.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
        rustix::fs::setxattr(from.join("sub/file"), "user.k", b"v", XattrFlags::empty()).unwrap();
        std::os::unix::fs::chown(from.join("sub/file"), Some(7), Some(8)).unwrap();
        fs::set_permissions(from.join("sub/file"), fs::Permissions::from_mode(0o4750)).unwrap();
        fs::set_permissions(&from, fs::Permissions::from_mode(0o1751)).unwrap();

        let open = |path| open_dir(rustix::fs::CWD, path).unwrap();
        copy_tree(open(&from).as_fd(), open(&to).as_fd()).unwrap();

        let file = fs::metadata(to.join("sub/file")).unwrap();
        assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777), (7, 8, 0o4750));
        assert_eq!(file.ino(), fs::metadata(to.join("link")).unwrap().ino());
        assert_eq!(file.mtime_nsec(), fs::metadata(from.join("sub/file")).unwrap().mtime_nsec());
        assert_eq!(fs::read(to.join("sub/file")).unwrap(), b"text");
        let mut value = [0u8; 8];
        assert_eq!(rustix::fs::getxattr(to.join("link"), "user.k", &mut value).unwrap(), 1);
        assert_eq!(fs::read_link(to.join("sym")).unwrap().to_str(), Some("/nowhere"));
        assert_eq!(fs::metadata(to.join("fifo")).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(fs::metadata(&to).unwrap().mode() & 0o7777, 0o1751);
    }
}
