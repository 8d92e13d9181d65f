//! A tree becomes an archive.
//!
//! The tree may change while it is read, and may be hostile: it is walked by descriptors, files are cut or filled up to
//! the size that their header says, and memory is bounded whatever the tree has.

mod object;
mod settle;
mod walk;

pub use walk::{Found, Step, Walk};

use crate::tar::{Entry, Kind, Time, Writer};
use gantry_model::{Error, IdMaps};
use object::Reader;
use rustix::{fd::OwnedFd, fs::FileType};
use settle::Settler;
use std::{
    collections::HashMap,
    io::{self, BufWriter, Write},
};

/// Bytes of names that are remembered for hard links; further links become files of their own.
const MAX_LINKS: usize = 64 << 20;
const OPAQUE: &[u8] = b".wh..wh..opq";
const WHITEOUT: &[u8] = b".wh.";

/// What the tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Files as they are.
    Tree,
    /// The upper directory of an overlay, which becomes an image's layer: its marks become whiteouts.
    Layer,
}

/// Why a tree cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The archive's reader is gone.
    #[error("the archive could not be written: {0}")]
    Write(io::Error),
    /// The tree cannot be read.
    #[error("cannot archive {path:?}: {source}")]
    Read {
        /// Where.
        path: String,
        /// Why.
        source: io::Error,
    },
}

impl From<PackError> for Error {
    fn from(e: PackError) -> Self {
        match e {
            PackError::Write(_) => Self::cancelled(e.to_string()),
            PackError::Read { .. } => Self::internal(e.to_string()).with_source(e),
        }
    }
}

/// Archives everything in the directory `dir`, without an entry for itself. Returns how many entries there were.
pub fn pack(
    dir: &OwnedFd,
    form: Form,
    ids: Option<&IdMaps>,
    skip: &dyn Fn(&Found, &[u8]) -> bool,
    out: &mut dyn Write,
) -> Result<u64, PackError> {
    let mut packer = Packer::new(form, ids, skip, out);
    packer.tree(dir, b"")?;
    packer.finish()
}

/// What went into an archive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packed {
    pub(crate) entries: u64,
    /// Bytes of files.
    pub(crate) size: u64,
}

/// Archives the upper directory of an overlay as a layer in which nothing is newer than `latest`, in seconds. With `settle`
/// the directory becomes what the archive would be extracted to; nobody else may use it any more.
pub(crate) fn pack_layer(
    dir: &OwnedFd,
    skip: &dyn Fn(&Found, &[u8]) -> bool,
    latest: Option<i64>,
    settle: bool,
    out: &mut dyn Write,
) -> Result<Packed, PackError> {
    let mut packer = Packer::new(Form::Layer, None, skip, out);
    packer.latest = latest;
    packer.settler = settle.then(Settler::new);
    packer.tree(dir, b"")?;
    let packed = Packed { entries: packer.entries, size: packer.size };
    packer.finish()?;
    Ok(packed)
}

/// Archives one object, a directory with everything in it, under the name `name`; an empty name is that of a root.
pub fn pack_object(object: &Found, name: &[u8], ids: Option<&IdMaps>, out: &mut dyn Write) -> Result<u64, PackError> {
    let mut packer = Packer::new(Form::Tree, ids, &|_, _| false, out);
    packer.found(object, name)?;
    if object.kind() == FileType::Directory {
        packer.tree(&object.fd, &[name, b"/"].concat())?;
    }
    packer.finish()
}

struct Packer<'p> {
    writer: Writer<BufWriter<&'p mut dyn Write>>,
    reader: Reader,
    form: Form,
    /// The files' ids are the host's, and what they are in this namespace is written.
    ids: Option<&'p IdMaps>,
    skip: &'p dyn Fn(&Found, &[u8]) -> bool,
    /// Where files with several names were first seen.
    links: HashMap<(u64, u64), Vec<u8>>,
    links_size: usize,
    /// Later times become this one.
    latest: Option<i64>,
    entries: u64,
    /// Bytes of files.
    size: u64,
    /// The tree itself becomes what its archive says.
    settler: Option<Settler>,
}

impl<'p> Packer<'p> {
    fn new(
        form: Form,
        ids: Option<&'p IdMaps>,
        skip: &'p dyn Fn(&Found, &[u8]) -> bool,
        out: &'p mut dyn Write,
    ) -> Self {
        let writer = Writer::new(BufWriter::with_capacity(64 << 10, out));
        Self {
            writer,
            reader: Reader::new(),
            form,
            ids,
            skip,
            links: HashMap::new(),
            links_size: 0,
            latest: None,
            entries: 0,
            size: 0,
            settler: None,
        }
    }

    fn tree(&mut self, dir: &OwnedFd, prefix: &[u8]) -> Result<(), PackError> {
        let mut walk = Walk::new(dir, prefix).map_err(|e| read(prefix, e))?;
        while let Some(step) = walk.step().map_err(|e| read(walk.path(), e))? {
            let Step::Found(found) = step else {
                if let Some(settler) = &mut self.settler {
                    settler.leave().map_err(|e| read(walk.path(), e))?;
                }
                continue;
            };
            if (self.skip)(&found, walk.path()) || self.has_no_entry(&found, walk.name()) {
                if let Some(settler) = &self.settler {
                    settler.remove(dir, walk.name()).map_err(|e| read(walk.path(), e))?;
                }
                continue;
            }
            if self.form == Form::Layer && found.is_whiteout() {
                self.whiteout(&found, walk.path(), walk.name())?;
                continue;
            }
            self.found(&found, walk.path())?;
            if found.kind() == FileType::Directory {
                if self.form == Form::Layer && found.is_opaque().map_err(|e| read(walk.path(), e))? {
                    self.mark(&[walk.path(), b"/", OPAQUE].concat(), 0o755, &found)?;
                }
                walk.enter(&found).map_err(|e| read(walk.path(), e))?;
                let mtime = self.time(&found);
                if let Some(settler) = &mut self.settler {
                    settler.enter(found, mtime);
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<u64, PackError> {
        self.writer.finish().map_err(PackError::Write)?;
        Ok(self.entries)
    }

    /// An archive has no word for a socket, and it is of no use without its process. In a layer, a file whose name is that
    /// of a mark cannot be told.
    fn has_no_entry(&self, found: &Found, name: &[u8]) -> bool {
        found.kind() == FileType::Socket || (self.form == Form::Layer && name.starts_with(WHITEOUT))
    }

    /// Writes the mark for a whiteout.
    fn whiteout(&mut self, found: &Found, path: &[u8], name: &[u8]) -> Result<(), PackError> {
        let parent = &path[..path.len() - name.len()];
        self.mark(&[parent, WHITEOUT, name].concat(), 0o600, found)
    }

    /// When the object was changed, as the archive says it.
    fn time(&self, found: &Found) -> Time {
        let seconds = self.latest.map_or(found.stat.st_mtime, |latest| found.stat.st_mtime.min(latest));
        Time { seconds, nanos: 0 }
    }

    fn describe(&self, found: &Found, path: &[u8], kind: Kind) -> Entry {
        Entry { mtime: self.time(found), ..describe(found, path, kind, self.ids) }
    }

    fn mark(&mut self, path: &[u8], mode: u32, found: &Found) -> Result<(), PackError> {
        let entry = Entry { mode, kind: Kind::File, ..self.describe(found, path, Kind::File) };
        self.begin(&Entry { size: 0, ..entry })
    }

    fn found(&mut self, found: &Found, path: &[u8]) -> Result<(), PackError> {
        let kind = match found.kind() {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            FileType::CharacterDevice => Kind::CharDevice,
            FileType::BlockDevice => Kind::BlockDevice,
            FileType::Fifo => Kind::Fifo,
            _ => return Ok(()),
        };
        let mut entry = self.describe(found, path, kind);
        if kind == Kind::Directory {
            entry.path.push(b'/');
        } else if let Some(first) = self.first_name(found, path) {
            entry.link = first;
            entry.kind = Kind::HardLink;
            return self.begin(&entry);
        }
        let fail = |e| read(path, e);
        entry.xattrs = self.reader.xattrs(found).map_err(fail)?;
        if self.settler.is_some() {
            settle::strip(found, self.reader.foreign()).map_err(fail)?;
            if kind != Kind::Directory {
                Settler::object(found, entry.mtime).map_err(fail)?;
            }
        }
        match kind {
            Kind::Symlink => entry.link = object::target(found).map_err(fail)?,
            Kind::File => return self.file(found, &entry),
            _ => {}
        }
        self.begin(&entry)
    }

    fn file(&mut self, found: &Found, entry: &Entry) -> Result<(), PackError> {
        if entry.size == 0 {
            return self.begin(entry);
        }
        let fail = |e| read(&entry.path, e);
        let file = object::open(found).map_err(fail)?;
        self.begin(entry)?;
        self.reader.copy(&file, found, &mut self.writer).map_err(|e| e.into_pack_error(&entry.path))
    }

    fn begin(&mut self, entry: &Entry) -> Result<(), PackError> {
        self.entries += 1;
        self.size = self.size.saturating_add(entry.size);
        self.writer.begin(entry).map_err(|e| match e.kind() {
            io::ErrorKind::InvalidData => read(&entry.path, e),
            _ => PackError::Write(e),
        })
    }

    /// The name under which the same file came before.
    fn first_name(&mut self, found: &Found, path: &[u8]) -> Option<Vec<u8>> {
        if found.stat.st_nlink < 2 {
            return None;
        }
        let key = (found.stat.st_dev, found.stat.st_ino);
        if let Some(first) = self.links.get(&key) {
            return Some(first.clone());
        }
        let size = path.len() + size_of::<((u64, u64), Vec<u8>)>();
        if self.links_size + size <= MAX_LINKS {
            self.links_size += size;
            self.links.insert(key, path.to_vec());
        }
        None
    }
}

fn describe(found: &Found, path: &[u8], kind: Kind, ids: Option<&IdMaps>) -> Entry {
    let stat = &found.stat;
    let (uid, gid) = ids.map_or((stat.st_uid, stat.st_gid), |ids| ids.shown(stat.st_uid, stat.st_gid));
    let device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
    Entry {
        path: path.to_vec(),
        link: Vec::new(),
        kind,
        mode: stat.st_mode & 0o7777,
        uid,
        gid,
        mtime: Time { seconds: stat.st_mtime, nanos: 0 },
        device: if device { (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)) } else { (0, 0) },
        size: if kind == Kind::File { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 },
        sparse: None,
        xattrs: Vec::new(),
    }
}

fn read(path: &[u8], source: io::Error) -> PackError {
    PackError::Read { path: String::from_utf8_lossy(path).into_owned(), source }
}
