//! An archive into a directory of a container that is in use.
//!
//! Other than a layer's, this root is not ours alone: the container may change it at any moment, and links in it are
//! followed as the container would follow them. So parents are opened with `openat2` inside the container's root, what
//! was opened is used by its descriptor, and the last component is only ever created, never followed (CVE-2018-15664).

use super::{
    ExtractError, Extracted, Limits,
    apply::copy,
    dirs::make_each,
    error::lossy,
    metadata::{Late, finish_file, finish_object, set_modified},
    names::{clean, split},
    tally::Tally,
};
use crate::{
    Compression,
    tar::{Archive, Entry, Kind, Time},
};
use gantry_linux::private_umask::take_private_umask;
use gantry_model::{Error, IdMaps, Result};
use rustix::{
    fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    fs::{
        AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, linkat, makedev, mkdirat, mknodat, openat, openat2,
        statat, symlinkat, unlinkat,
    },
    io::{Errno, write},
};
use std::{
    collections::HashMap,
    fs,
    io::{self, BufRead, BufReader, Read},
    rc::Rc,
    thread,
};

/// Open directories that are kept.
const KEPT: usize = 64;
/// What may follow an archive's end: padding of the program that wrote it.
const MAX_TRAILER: u64 = 64 << 20;

/// Where and how to extract.
#[derive(Debug)]
pub struct MergeOptions<'a> {
    /// The container's root.
    pub root: &'a OwnedFd,
    /// The directory to extract into, opened inside the root.
    pub into: &'a OwnedFd,
    /// Its path, for links that lead out of it but not out of the root, and for messages.
    pub path: &'a str,
    /// Neither replace a directory by something else nor the other way round.
    pub keep_kinds: bool,
    /// The owner of everything, instead of those in the archive.
    pub owner: Option<(u32, u32)>,
    /// What owners in the archive are on the host, if they are not the same.
    pub ids: Option<&'a IdMaps>,
    /// Bounds.
    pub limits: Limits,
}

/// Extracts an archive, compressed or not, on top of what is there.
pub fn merge(body: &mut (dyn Read + Send), options: &MergeOptions<'_>) -> Result<Extracted> {
    // A thread of its own, because its umask becomes its own.
    let work = move || -> Result<Extracted> {
        take_private_umask().map_err(|e| ExtractError::system("prepare", b".", e))?;
        let mut start = Vec::new();
        Read::take(&mut *body, Compression::MAGIC as u64).read_to_end(&mut start).map_err(unreadable)?;
        let compression = Compression::detect(&start);
        let stream = BufReader::with_capacity(256 << 10, start.as_slice().chain(&mut *body));
        let mut rest = BufReader::with_capacity(256 << 10, compression.decoder(stream)?);
        let mut merge = Merge::new(options)?;
        let mut archive = Archive::new(&mut rest);
        while let Some(entry) = archive.next_entry().map_err(ExtractError::from)? {
            merge.add(&mut archive, entry)?;
        }
        merge.finish();
        io::copy(&mut rest.take(MAX_TRAILER), &mut io::sink()).map_err(unreadable)?;
        Ok(merge.tally.done())
    };
    thread::scope(|scope| {
        let worker = thread::Builder::new().name("extract".into()).spawn_scoped(scope, work)?;
        worker.join().unwrap_or_else(|_| Err(Error::internal("the extracting thread panicked")))
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn unreadable(e: io::Error) -> Error {
    Error::invalid(format!("cannot read the archive: {e}"))
}

/// A directory whose time is set at the end, because it changes with every entry made in it.
struct Pending {
    path: Vec<u8>,
    mtime: Time,
    device: u64,
    inode: u64,
}

struct Merge<'a> {
    options: &'a MergeOptions<'a>,
    into: Rc<OwnedFd>,
    kept: HashMap<Vec<u8>, Rc<OwnedFd>>,
    pending: Vec<Pending>,
    pending_size: usize,
    tally: Tally,
}

/// A name in an open directory.
struct Spot<'p> {
    parent: Rc<OwnedFd>,
    name: &'p [u8],
    path: &'p [u8],
}

impl Spot<'_> {
    fn parent(&self) -> BorrowedFd<'_> {
        self.parent.as_fd()
    }

    /// What has the name now.
    fn look(&self) -> Result<Option<Stat>, ExtractError> {
        match statat(self.parent(), self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(self.failed("look at")(e)),
        }
    }

    fn failed(&self, what: &'static str) -> impl Fn(Errno) -> ExtractError {
        move |e| ExtractError::system(what, self.path, e)
    }

    /// Opens what was just made, to finish it whatever happens to its name.
    fn pin(&self, kind: FileType) -> Result<OwnedFd, ExtractError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let object = openat(self.parent(), self.name, flags, Mode::empty()).map_err(self.failed("open"))?;
        let stat = fstat(&object).map_err(self.failed("look at"))?;
        if FileType::from_raw_mode(stat.st_mode) != kind || stat.st_nlink > 1 {
            return Err(ExtractError::Changed(lossy(self.path)));
        }
        Ok(object)
    }
}

impl<'a> Merge<'a> {
    fn new(options: &'a MergeOptions<'a>) -> Result<Self> {
        Ok(Self {
            into: Rc::new(options.into.try_clone()?),
            options,
            kept: HashMap::new(),
            pending: Vec::new(),
            pending_size: 0,
            tally: Tally::new(options.limits),
        })
    }

    fn add<R: BufRead>(&mut self, archive: &mut Archive<R>, mut entry: Entry) -> Result<(), ExtractError> {
        self.tally.add(&entry, &*self.into)?;
        let path = clean(&entry.path)?;
        if path.is_empty() {
            // The directory itself is not the archive's.
            return Ok(());
        }
        if let Some((uid, gid)) = self.options.owner {
            (entry.uid, entry.gid) = (uid, gid);
        }
        if let Some(ids) = self.options.ids {
            let host = ids.uids.to_host(entry.uid).zip(ids.gids.to_host(entry.gid));
            (entry.uid, entry.gid) = host.ok_or_else(|| ExtractError::Unmapped {
                path: lossy(&entry.path),
                uid: entry.uid,
                gid: entry.gid,
            })?;
        }
        let spot = self.spot(&path)?;
        if entry.kind == Kind::HardLink && clean(&entry.link)? == path {
            return Ok(());
        }
        self.make_room(&spot, entry.kind)?;
        match entry.kind {
            Kind::File => file(archive, &spot, &entry),
            Kind::Directory => self.directory(&spot, &mut entry),
            Kind::HardLink => self.hard_link(&spot, &entry),
            Kind::Symlink => self.symlink(&spot, &entry),
            Kind::CharDevice => node(&spot, FileType::CharacterDevice, &entry),
            Kind::BlockDevice => node(&spot, FileType::BlockDevice, &entry),
            Kind::Fifo => node(&spot, FileType::Fifo, &entry),
        }
    }

    /// Removes what has the name, unless a directory meets a directory.
    fn make_room(&mut self, spot: &Spot<'_>, kind: Kind) -> Result<(), ExtractError> {
        let Some(stat) = spot.look()? else { return Ok(()) };
        let (was, becomes) = (FileType::from_raw_mode(stat.st_mode) == FileType::Directory, kind == Kind::Directory);
        if was && becomes {
            return Ok(());
        }
        if self.options.keep_kinds && was != becomes {
            let words = |directory| if directory { "directory" } else { "non-directory" };
            return Err(ExtractError::Overwrite {
                was: words(was),
                path: self.shown(spot.path),
                becomes: words(becomes),
                into: self.options.path.to_owned(),
            });
        }
        if !was {
            return unlinkat(spot.parent(), spot.name, AtFlags::empty()).map_err(spot.failed("replace"));
        }
        self.kept.clear();
        // The descriptor pins the parent; std removes below it without following links.
        let prefix = format!("/proc/self/fd/{}/", spot.parent().as_raw_fd());
        let path = [prefix.as_bytes(), spot.name].concat();
        let path: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(&path);
        fs::remove_dir_all(path).map_err(|e| spot.failed("replace")(Errno::from_io_error(&e).unwrap_or(Errno::IO)))
    }

    fn directory(&mut self, spot: &Spot<'_>, entry: &mut Entry) -> Result<(), ExtractError> {
        match mkdirat(spot.parent(), spot.name, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(spot.failed("make directory")(e)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(spot.parent(), spot.name, flags, Mode::empty()).map_err(spot.failed("open"))?;
        let stat = fstat(&directory).map_err(spot.failed("look at"))?;
        let mtime = entry.mtime;
        Late::of(entry).apply(directory.as_fd(), spot.path)?;
        self.pending_size += spot.path.len() + size_of::<Pending>();
        if self.pending_size > self.options.limits.directory_names {
            return Err(ExtractError::Limit("directories"));
        }
        self.pending.push(Pending { path: spot.path.to_vec(), mtime, device: stat.st_dev, inode: stat.st_ino });
        Ok(())
    }

    /// A second name for a file of the directory that is extracted into.
    fn hard_link(&mut self, spot: &Spot<'_>, entry: &Entry) -> Result<(), ExtractError> {
        let target = clean(&entry.link)?;
        let missing = || ExtractError::HardLink { path: lossy(spot.path), target: lossy(&target) };
        let (parent, name) = split(&target);
        let parent = match self.existing(parent) {
            Err(Errno::NOENT) => return Err(missing()),
            found => found.map_err(|e| ExtractError::system("open", &target, e))?,
        };
        // Without AT_SYMLINK_FOLLOW a link to a symbolic link is a second name of the link itself.
        match linkat(&*parent, name, spot.parent(), spot.name, AtFlags::empty()) {
            Err(Errno::NOENT) => Err(missing()),
            linked => linked.map_err(spot.failed("link")),
        }
    }

    /// As Docker, refuses a link that says by its text that it leads out of the directory.
    fn symlink(&self, spot: &Spot<'_>, entry: &Entry) -> Result<(), ExtractError> {
        if entry.link.is_empty() || entry.link.contains(&0) {
            return Err(ExtractError::Name(lossy(&entry.link)));
        }
        let (parent, _) = split(spot.path);
        if self.options.path != "/" && clean(&[parent, b"/", entry.link.as_slice()].concat()).is_err() {
            let (path, target) = (self.shown(spot.path), lossy(&entry.link));
            return Err(ExtractError::Symlink { path, target });
        }
        symlinkat(entry.link.as_slice(), spot.parent(), spot.name).map_err(spot.failed("make link"))?;
        finish_object(&spot.pin(FileType::Symlink)?, entry, spot.path)
    }

    /// Where a cleaned path belongs; directories that the archive left out are made.
    fn spot<'p>(&mut self, path: &'p [u8]) -> Result<Spot<'p>, ExtractError> {
        let (parent, name) = split(path);
        let parent = match self.existing(parent) {
            Err(Errno::NOENT) => self.make(parent)?,
            found => found.map_err(|e| ExtractError::system("open", parent, e))?,
        };
        Ok(Spot { parent, name, path })
    }

    fn make(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, ExtractError> {
        make_each(self.into.clone(), path, |prefix| self.existing(prefix))
    }

    fn existing(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, Errno> {
        if path.is_empty() {
            return Ok(self.into.clone());
        }
        if let Some(kept) = self.kept.get(path) {
            return Ok(kept.clone());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = match self.beneath(path, flags) {
            // Only now: a link leads somewhere else in the root.
            Err(Errno::LOOP) => {
                let inside = [self.options.path.as_bytes(), b"/", path].concat();
                open(self.options.root, &inside, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
            }
            opened => opened,
        };
        let opened = Rc::new(opened?);
        if self.kept.len() >= KEPT {
            self.kept.clear();
        }
        self.kept.insert(path.to_vec(), opened.clone());
        Ok(opened)
    }

    /// Opens a directory without following any link.
    fn beneath(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        open(&self.into, path, flags, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
    }

    /// Sets the times of directories that are still where they were.
    fn finish(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            let Ok(directory) = self.beneath(&pending.path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC)
            else {
                continue;
            };
            if fstat(&directory).is_ok_and(|s| (s.st_dev, s.st_ino) == (pending.device, pending.inode)) {
                // Only the container can have made this fail, and its time is then its own affair.
                let _ = set_modified(directory.as_fd(), pending.mtime);
            }
        }
    }

    /// A path as the container knows it.
    fn shown(&self, path: &[u8]) -> String {
        format!("{}/{}", self.options.path.trim_end_matches('/'), lossy(path))
    }
}

fn open(from: impl AsFd, path: &[u8], flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    loop {
        match openat2(from.as_fd(), path, flags, Mode::empty(), resolve) {
            // The kernel could not rule out a race with a rename elsewhere on the machine.
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
}

fn file<R: BufRead>(archive: &mut Archive<R>, spot: &Spot<'_>, entry: &Entry) -> Result<(), ExtractError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(entry.mode & 0o777);
    let file = openat(spot.parent(), spot.name, flags, mode).map_err(spot.failed("create"))?;
    match &entry.sparse {
        None => copy(archive, spot.path, entry.size, |bytes, _| write(&file, bytes))?,
        Some(map) => {
            for segment in &map.segments {
                let put = |bytes: &[u8], at| rustix::io::pwrite(&file, bytes, segment.offset + at);
                copy(archive, spot.path, segment.length, put)?;
            }
            rustix::fs::ftruncate(&file, map.size).map_err(spot.failed("extend"))?;
        }
    }
    finish_file(file.as_fd(), entry, spot.path)
}

fn node(spot: &Spot<'_>, kind: FileType, entry: &Entry) -> Result<(), ExtractError> {
    let (major, minor) = entry.device;
    let device = if kind == FileType::Fifo { 0 } else { makedev(major, minor) };
    mknodat(spot.parent(), spot.name, kind, Mode::from_raw_mode(entry.mode), device).map_err(spot.failed("create"))?;
    finish_object(&spot.pin(kind)?, entry, spot.path)
}
