//! Entry by entry into the file system.

use super::{
    ExtractError, Limits,
    dirs::{Dirs, Place},
    error::lossy,
    metadata::{Late, finish_file, finish_node, make_opaque},
    names::{self, Role},
    tally::Tally,
};
use crate::tar::{Archive, Entry, Kind, TarError};
use gantry_linux::private_umask::take_private_umask;
use rustix::{
    fd::{AsFd, AsRawFd},
    fs::{
        AtFlags, CWD, Dev, FileType, Mode, OFlags, ftruncate, linkat, makedev, mkdirat, mknodat, openat, statat,
        symlinkat, unlinkat,
    },
    io::{Errno, pwrite, write},
};
use std::{collections::HashMap, fs, io::BufRead, path::Path};

/// What came out of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extracted {
    /// Bytes of file data, without holes.
    pub size: u64,
    /// Entries.
    pub entries: u64,
}

/// Extracts an archive into the empty directory `root`. What is there after an error is the caller's to remove.
///
/// Takes the calling thread's umask away from the process, so it must run on a thread of its own.
pub fn extract<R: BufRead>(archive: &mut Archive<R>, root: &Path, limits: Limits) -> Result<Extracted, ExtractError> {
    take_private_umask().map_err(|e| ExtractError::system("prepare", b".", e))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fail = |e| ExtractError::system("open", root.as_os_str().as_encoded_bytes(), e);
    let root = openat(CWD, root, flags, Mode::empty()).map_err(fail)?;
    let mut layer = Layer { dirs: Dirs::new(root), late: HashMap::new(), late_cost: 0, tally: Tally::new(limits) };
    layer.tally.check_space(layer.dirs.root())?;
    while let Some(entry) = archive.next_entry()? {
        layer.add(archive, entry)?;
    }
    layer.finish()
}

struct Layer {
    dirs: Dirs,
    late: HashMap<Vec<u8>, Late>,
    late_cost: usize,
    tally: Tally,
}

impl Layer {
    fn add<R: BufRead>(&mut self, archive: &mut Archive<R>, mut entry: Entry) -> Result<(), ExtractError> {
        self.tally.add(&entry, self.dirs.root())?;
        let path = names::clean(&entry.path)?;
        match names::role(&path)? {
            Role::Ignored => Ok(()),
            Role::Root => self.remember(path, &mut entry),
            Role::Opaque => {
                let place = self.dirs.place(&path)?;
                let (directory, _) = names::split(place.path);
                make_opaque(self.dirs.readable(directory)?, directory)
            }
            Role::Whiteout(hidden) => {
                let mut place = self.dirs.place(&path)?;
                place.name = hidden;
                self.whiteout(&place)
            }
            Role::Ordinary => self.ordinary(archive, &path, entry),
        }
    }

    fn ordinary<R: BufRead>(
        &mut self,
        archive: &mut Archive<R>,
        path: &[u8],
        mut entry: Entry,
    ) -> Result<(), ExtractError> {
        let place = self.dirs.place(path)?;
        match entry.kind {
            Kind::File => return self.file(archive, &place, &entry),
            Kind::Directory => {
                self.directory(&place)?;
                return self.remember(path.to_vec(), &mut entry);
            }
            Kind::HardLink => return self.hard_link(&place, &entry),
            Kind::Symlink => {
                if entry.link.is_empty() || entry.link.contains(&0) {
                    return Err(ExtractError::Name(lossy(&entry.link)));
                }
                self.create(&place, |p| symlinkat(entry.link.as_slice(), p.parent(), p.name))?;
            }
            Kind::CharDevice => self.node(&place, FileType::CharacterDevice, &entry)?,
            Kind::BlockDevice => self.node(&place, FileType::BlockDevice, &entry)?,
            Kind::Fifo => self.node(&place, FileType::Fifo, &entry)?,
        }
        finish_node(&place, &entry)
    }

    fn file<R: BufRead>(
        &mut self,
        archive: &mut Archive<R>,
        place: &Place<'_>,
        entry: &Entry,
    ) -> Result<(), ExtractError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let file = self.create(place, |p| openat(p.parent(), p.name, flags, mode))?;
        match &entry.sparse {
            None => {
                copy(archive, place.path, entry.size, |bytes, _| write(&file, bytes))?;
            }
            Some(map) => {
                for segment in &map.segments {
                    copy(archive, place.path, segment.length, |bytes, at| pwrite(&file, bytes, segment.offset + at))?;
                }
                ftruncate(&file, map.size).map_err(|e| ExtractError::system("extend", place.path, e))?;
            }
        }
        finish_file(file.as_fd(), entry, place.path)
    }

    fn directory(&mut self, place: &Place<'_>) -> Result<(), ExtractError> {
        let make = |p: &Place<'_>| mkdirat(p.parent(), p.name, Mode::from_raw_mode(0o755));
        match make(place) {
            Err(Errno::EXIST) => {}
            made => return made.map_err(|e| ExtractError::system("make directory", place.path, e)),
        }
        let Some((kind, device)) = look(place)? else { return self.create(place, make) };
        if kind == FileType::Directory {
            return Ok(());
        }
        self.create(place, make)?;
        if kind == FileType::CharacterDevice && device == 0 {
            // It replaces a whiteout of the same layer: the directory must still hide the one below.
            make_opaque(self.dirs.readable(place.path)?, place.path)?;
        }
        Ok(())
    }

    fn hard_link(&mut self, place: &Place<'_>, entry: &Entry) -> Result<(), ExtractError> {
        let target = names::clean(&entry.link)?;
        if target == place.path {
            return Ok(());
        }
        let missing = || ExtractError::HardLink { path: lossy(place.path), target: lossy(&target) };
        let source = match self.dirs.existing_place(&target) {
            Ok(source) if !source.name.is_empty() => source,
            Ok(_) | Err(Errno::NOENT) => return Err(missing()),
            Err(e) => return Err(ExtractError::system("open", &target, e)),
        };
        // Without AT_SYMLINK_FOLLOW a link to a symbolic link is a second name of the link itself.
        let link = |p: &Place<'_>| linkat(source.parent(), source.name, p.parent(), p.name, AtFlags::empty());
        match look(&source)? {
            None | Some((FileType::Directory, _)) => Err(missing()),
            Some(_) => self.create(place, link),
        }
    }

    fn node(&mut self, place: &Place<'_>, kind: FileType, entry: &Entry) -> Result<(), ExtractError> {
        let (major, minor) = entry.device;
        let device: Dev = if kind == FileType::Fifo { 0 } else { makedev(major, minor) };
        self.create(place, |p| mknodat(p.parent(), p.name, kind, Mode::from_raw_mode(entry.mode), device))
    }

    /// Hides a name of the layers below, unless this layer has the name itself; then hiding is what that does anyway,
    /// and a directory is told not to merge.
    fn whiteout(&mut self, place: &Place<'_>) -> Result<(), ExtractError> {
        match mknodat(place.parent(), place.name, FileType::CharacterDevice, Mode::empty(), 0) {
            Err(Errno::EXIST) => {}
            made => return made.map_err(|e| ExtractError::system("make whiteout", place.path, e)),
        }
        if let Some((FileType::Directory, _)) = look(place)? {
            let (parent, _) = names::split(place.path);
            let hidden = if parent.is_empty() { place.name.to_vec() } else { [parent, b"/", place.name].concat() };
            make_opaque(self.dirs.readable(&hidden)?, &hidden)?;
        }
        Ok(())
    }

    /// Creates a name; where it exists, the later entry wins, as in every tar program.
    fn create<T>(
        &mut self,
        place: &Place<'_>,
        make: impl Fn(&Place<'_>) -> Result<T, Errno>,
    ) -> Result<T, ExtractError> {
        let made = match make(place) {
            Err(Errno::EXIST) => {
                self.remove(place)?;
                make(place)
            }
            made => made,
        };
        made.map_err(|e| ExtractError::system("create", place.path, e))
    }

    fn remove(&mut self, place: &Place<'_>) -> Result<(), ExtractError> {
        let fail = |e| ExtractError::system("replace", place.path, e);
        match unlinkat(place.parent(), place.name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            removed => return removed.map_err(fail),
        }
        self.dirs.forget();
        let inside = [place.path, b"/"].concat();
        self.late.retain(|path, _| path != place.path && !path.starts_with(&inside));
        // The descriptor pins the parent; std removes below it without following links.
        let prefix = format!("/proc/self/fd/{}/", place.parent().as_raw_fd());
        let path = std::ffi::OsString::from(prefix).into_encoded_bytes();
        let path = [path.as_slice(), place.name].concat();
        let path: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(&path);
        fs::remove_dir_all(path).map_err(|e| fail(Errno::from_io_error(&e).unwrap_or(Errno::IO)))
    }

    /// Keeps a directory's metadata for the end: its times change with every entry made in it.
    fn remember(&mut self, path: Vec<u8>, entry: &mut Entry) -> Result<(), ExtractError> {
        let late = Late::of(entry);
        self.late_cost += path.len() + late.cost() + size_of::<Late>();
        if self.late_cost > self.tally.limits.directory_names {
            return Err(ExtractError::Limit("directories"));
        }
        self.late.insert(path, late);
        Ok(())
    }

    fn finish(self) -> Result<Extracted, ExtractError> {
        for (path, late) in &self.late {
            late.apply(self.dirs.readable(path)?.as_fd(), path)?;
        }
        Ok(self.tally.done())
    }
}

/// Moves `length` bytes of the current entry to `put`, which is given the bytes and how many went before.
pub(super) fn copy<R: BufRead>(
    archive: &mut Archive<R>,
    path: &[u8],
    length: u64,
    put: impl Fn(&[u8], u64) -> Result<usize, Errno>,
) -> Result<(), ExtractError> {
    let mut moved = 0;
    while moved < length {
        let bytes = archive.data()?;
        if bytes.is_empty() {
            return Err(TarError::Truncated.into());
        }
        let wanted = usize::try_from(length - moved).unwrap_or(usize::MAX).min(bytes.len());
        match put(&bytes[..wanted], moved) {
            Ok(put) => {
                archive.consume(put);
                moved += put as u64;
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(ExtractError::system("write", path, e)),
        }
    }
    Ok(())
}

/// Type and device number of what has the name now.
fn look(place: &Place<'_>) -> Result<Option<(FileType, Dev)>, ExtractError> {
    match statat(place.parent(), place.name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some((FileType::from_raw_mode(stat.st_mode), stat.st_rdev))),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(ExtractError::system("look at", place.path, e)),
    }
}
