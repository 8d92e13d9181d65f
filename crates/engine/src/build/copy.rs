//! `COPY`, `ADD` and `WORKDIR`: a layer with files that come from elsewhere.
//!
//! The files travel as an archive from whoever has them to the extraction that also `docker cp` uses, which resolves
//! every path inside the root and follows no link at a path's end. Where a destination leads is decided once, before:
//! nothing runs in this root.

use super::backend::{Upper, open_layer};
use super::files::image_id;
use super::scratch::Scratch;
use crate::Engine;
use crate::archive::View;
use gantry_image_builder::select::{Selected, walk};
use gantry_image_builder::source::NO_TIME;
use gantry_image_builder::source::{join, resolve};
use gantry_image_builder::{Copy, CopyPart, Ignore, Kind, Node, Place, Source};
use gantry_image_store::extract::{Limits, MergeOptions, merge};
use gantry_image_store::tar::{Archive, Entry, Kind as TarKind, Time, Writer};
use gantry_image_store::{Compression, pack::PackError};
use gantry_model::error::Context;
use gantry_model::{Error, Result, Timestamp};
use gantry_runtime::view::{self, Origin, Wanted};
use rustix::fs::{FileType, OFlags, fstat};
use std::collections::{HashMap, HashSet};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::thread;

/// Bytes that the reading side may be ahead.
const PIPE: usize = 1 << 20;
/// Files with several names that are remembered; further names become files of their own.
const MAX_LINKS: usize = 100_000;

/// A layer in the making, on an image's.
pub(super) struct NewLayer {
    scratch: Scratch,
    pub(super) view: View,
}

impl NewLayer {
    pub(super) fn new(engine: &Engine, parent: Option<&str>) -> Result<Self> {
        let scratch = engine.scratch()?;
        let mut lower = match parent {
            Some(parent) => engine.images.rootfs_of(&image_id(parent)?)?,
            None => Vec::new(),
        };
        if lower.is_empty() {
            lower.push(scratch.empty());
        }
        let origin = Origin::Writable { lower, upper: scratch.upper(), work: scratch.work() };
        let place = scratch.place();
        let wanted = Wanted { origin, readonly: false, binds: &[], place: &place, shift: None };
        let root = view::open(&wanted).context("mounting an image's layers")?;
        Ok(Self { scratch, view: View::of_store(root) })
    }

    pub(super) fn finish(self) -> Result<Upper> {
        let layer = open_layer(&self.scratch.upper())?;
        // The mount goes before what it stands on.
        drop(self.view);
        Ok(Upper { layer, skip: Box::new(|_, _| false), keep: Some(self.scratch), is_given: true })
    }

    /// Whether a path is a directory; `None` if nothing is there.
    fn is_directory(&self, path: &str) -> Result<Option<bool>> {
        match self.view.open(path, OFlags::PATH) {
            Ok(fd) => {
                let stat = fstat(&fd).map_err(io::Error::from).context(path)?;
                Ok(Some(FileType::from_raw_mode(stat.st_mode) == FileType::Directory))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).context(path),
        }
    }

    /// A path without links.
    fn resolved(&self, path: &str) -> Result<String> {
        self.view.evaluate(path).context(path)
    }
}

/// Makes a directory if it is not there, with those above it; `None` if it was.
pub(super) fn make_directory(engine: &Engine, parent: Option<&str>, path: &str) -> Result<Option<Upper>> {
    let layer = NewLayer::new(engine, parent)?;
    match layer.is_directory(path)? {
        Some(true) => Ok(None),
        Some(false) => Err(Error::invalid(format!("Cannot mkdir: {path} is not a directory"))),
        None => {
            let path = layer.resolved(path)?;
            fill(&layer.view.root, Limits::default(), |out| out.directories(&layer, &path))?;
            layer.finish().map(Some)
        }
    }
}

/// Copies files onto an image.
pub(super) fn copy(engine: &Engine, parent: Option<&str>, action: &Copy, created: Option<Timestamp>) -> Result<Upper> {
    let owner = action.chown.as_deref().map(|owner| chown(engine, parent, owner)).transpose()?;
    // A layer of its own sees nothing of what lies below.
    let layer = NewLayer::new(engine, parent.filter(|_| !action.link))?;
    let is_directory = layer.is_directory(&action.destination)?;
    let into_directory = action.into_directory || is_directory == Some(true);
    let destination = layer.resolved(&action.destination)?;
    if into_directory && is_directory == Some(false) {
        return Err(Error::invalid(format!("cannot copy to {}: it is not a directory", action.destination)));
    }
    let now = created.unwrap_or_else(Timestamp::now).unix_seconds();
    let mut archives = Vec::new();
    fill(&layer.view.root, Limits::default(), |out| {
        (out.owner, out.now) = (owner, now);
        for part in &action.parts {
            for one in &part.selected {
                if part.unpack && is_archive(part, one) {
                    out.directories(&layer, &destination)?;
                    archives.push((part, one));
                } else {
                    out.keep_owners = part.keep_owners;
                    out.selected(&layer, action, part, one, &destination, into_directory)?;
                }
            }
        }
        Ok(())
    })?;
    for (part, one) in archives {
        unpack(&layer, part, one, &destination, owner)?;
    }
    layer.finish()
}

/// Copies one thing into a directory of ours: what is in a directory, or a file that is called `file` there.
pub(super) fn copy_out(root: &OwnedFd, source: &dyn Source, one: &Selected) -> Result<()> {
    let action = Copy {
        parts: Vec::new(),
        destination: "/".to_owned(),
        into_directory: true,
        chown: None,
        chmod: None,
        exclude: Ignore::default(),
        parents: false,
        link: false,
    };
    fill(root, Limits::default(), |out| {
        out.keep_owners = true;
        if one.is_directory() {
            out.tree(source, &one.place, b"", b"", &action)
        } else {
            out.object(source, &one.place, b"file", &action)
        }
    })
}

/// The owner that `user[:group]` means; a user alone is also the group's name.
fn chown(engine: &Engine, parent: Option<&str>, owner: &str) -> Result<(u32, u32)> {
    let whole = if owner.contains(':') { owner.to_owned() } else { format!("{owner}:{owner}") };
    let scratch = engine.scratch()?;
    let root = engine.image_root(parent, scratch.empty())?;
    view::owner(&root, &whole)
        .map_err(|e| Error::invalid(format!("unable to convert uid/gid chown string to host mapping: {}", e.message())))
}

/// Extracts what `write` writes onto a root.
fn fill(root: &OwnedFd, limits: Limits, write: impl FnOnce(&mut Out<'_>) -> Result<()> + Send) -> Result<()> {
    let options = MergeOptions { root, into: root, path: "/", keep_kinds: false, owner: None, ids: None, limits };
    let (mut archive, mut end) = io::pipe()?;
    // A larger pipe is only faster.
    let _ = rustix::pipe::fcntl_setpipe_size(&archive, PIPE);
    thread::scope(|scope| {
        // The end moves in, so that the archive ends with the thread.
        let writer = scope.spawn(move || {
            let mut out = Out::new(&mut end);
            write(&mut out)?;
            out.writer.finish().map_err(|e| Error::from(PackError::Write(e)))
        });
        let merged = merge(&mut archive, &options);
        drop(archive);
        let written = writer.join().unwrap_or_else(|_| Err(Error::internal("the copying thread panicked")));
        // Where both fail, the one that writes only noticed that nobody listens, unless it was first.
        match (written, merged) {
            (Ok(()), merged) => merged.map(drop),
            (Err(e), Ok(_)) => Err(e),
            (Err(written), Err(merged)) => {
                Err(if written.kind() == gantry_model::ErrorKind::Cancelled { merged } else { written })
            }
        }
    })
}

/// The archive that is extracted onto the root.
struct Out<'w> {
    writer: Writer<BufWriter<&'w mut io::PipeWriter>>,
    owner: Option<(u32, u32)>,
    /// Everything keeps the owner that it has.
    keep_owners: bool,
    now: i64,
    /// Directories that were made.
    made: HashSet<String>,
    /// Where files with several names were first written, in what is copied just now.
    links: HashMap<u64, Vec<u8>>,
    buffer: Vec<u8>,
}

impl<'w> Out<'w> {
    fn new(end: &'w mut io::PipeWriter) -> Self {
        let writer = Writer::new(BufWriter::with_capacity(64 << 10, end));
        let now = Timestamp::now().unix_seconds();
        Self {
            writer,
            owner: None,
            keep_owners: false,
            now,
            made: HashSet::new(),
            links: HashMap::new(),
            buffer: vec![0; 64 << 10],
        }
    }

    /// A directory and those above it, where they are missing.
    fn directories(&mut self, layer: &NewLayer, path: &str) -> Result<()> {
        let path = path.trim_end_matches('/');
        let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).chain([path.len()]);
        for dir in ends.map(|end| &path[..end]).filter(|dir| !dir.is_empty()) {
            if self.made.contains(dir) {
                continue;
            }
            match layer.is_directory(dir)? {
                Some(true) => continue,
                Some(false) => return Err(Error::invalid(format!("cannot make the directory {path}: {dir} is none"))),
                None => {}
            }
            let mut node = gantry_image_builder::tree::Entry::directory().node;
            node.mtime = (self.now, 0);
            self.entry(dir.as_bytes(), &node, None)?;
            self.made.insert(dir.to_owned());
        }
        Ok(())
    }

    /// One thing that was selected, with everything in it.
    fn selected(
        &mut self,
        layer: &NewLayer,
        action: &Copy,
        part: &CopyPart,
        one: &Selected,
        destination: &str,
        into_directory: bool,
    ) -> Result<()> {
        let source = &*part.source;
        self.links.clear();
        let mut top = destination.trim_end_matches('/').as_bytes().to_vec();
        let shown = one.shown(action.parents);
        if action.parents {
            let verdict = action.exclude.verdict(&lossy(shown));
            if verdict.ignored && !(one.is_directory() && action.exclude.has_exceptions()) {
                return Ok(());
            }
            self.parents(layer, source, one, &mut top, action)?;
        }
        if one.is_directory() {
            self.directories(layer, &String::from_utf8_lossy(&top))?;
            return self.tree(source, &one.place, shown, &top, action);
        }
        let path = if into_directory || action.parents { join(&top, one.name()) } else { top };
        let parent = parent_of(&path);
        self.directories(layer, &String::from_utf8_lossy(parent))?;
        if action.exclude.ignores(&lossy(shown)) {
            return Ok(());
        }
        if layer.is_directory(&String::from_utf8_lossy(&path))? == Some(true) {
            let path = String::from_utf8_lossy(&path).into_owned();
            return Err(Error::invalid(format!("cannot copy a file to {path}: it is a directory")));
        }
        let path = layer.resolved(&String::from_utf8_lossy(&path))?;
        self.object(source, &one.place, path.as_bytes(), action)
    }

    /// The directories that `--parents` keeps, as they are in the source; `top` becomes the last of them.
    fn parents(
        &mut self,
        layer: &NewLayer,
        source: &dyn Source,
        one: &Selected,
        top: &mut Vec<u8>,
        action: &Copy,
    ) -> Result<()> {
        let kept = if one.is_directory() { one.kept() } else { parent_of(one.kept()) };
        let mut asked = one.asked[..one.asked.len() - one.kept().len()].to_vec();
        self.directories(layer, &lossy(top))?;
        for part in kept.split(|&b| b == b'/').filter(|part| !part.is_empty()) {
            asked =
                if asked.is_empty() || asked.ends_with(b"/") { [&asked, part].concat() } else { join(&asked, part) };
            *top = join(top, part);
            let dir = lossy(top);
            if self.made.contains(&dir) || layer.is_directory(&dir)? == Some(true) {
                continue;
            }
            match resolve(source, &asked).context(lossy(&asked))? {
                Some(place) if place.node.kind == Kind::Directory => self.object(source, &place, top, action)?,
                _ => self.directories(layer, &dir)?,
            }
            self.made.insert(dir);
        }
        Ok(())
    }

    fn tree(&mut self, source: &dyn Source, dir: &Place, shown: &[u8], top: &[u8], action: &Copy) -> Result<()> {
        let walked = walk(source, dir, shown, &action.exclude, &mut |path, place| {
            self.object(source, place, &join(top, path), action).map_err(io::Error::other)
        });
        walked.map_err(|e| match e.downcast::<Error>() {
            Ok(inner) => inner,
            Err(e) => Error::invalid(format!("cannot read {}: {e}", source.describe())),
        })
    }

    /// One object as it is, with the owner and mode that the instruction wants.
    fn object(&mut self, source: &dyn Source, place: &Place, path: &[u8], action: &Copy) -> Result<()> {
        let mut node = place.node.clone();
        let is_directory = node.kind == Kind::Directory;
        if let Some(chmod) = &action.chmod
            && !matches!(node.kind, Kind::Link(_))
        {
            node.mode = chmod.apply(node.mode, is_directory);
        }
        if node.mtime == NO_TIME {
            node.mtime = (self.now, 0);
        }
        let is_file = matches!(node.kind, Kind::File(_));
        if is_file && node.inode != 0 {
            if let Some(first) = self.links.get(&node.inode) {
                let first = first.clone();
                return self.second_name(path, &first, &node);
            }
            if self.links.len() < MAX_LINKS {
                self.links.insert(node.inode, path.to_vec());
            }
        }
        let data =
            if is_file { Some(source.open(&place.path, &place.node).context(lossy(&place.path))?) } else { None };
        self.entry(path, &node, data)
    }

    fn described(&self, path: &[u8], node: &Node) -> Entry {
        let own = if self.keep_owners { (node.uid, node.gid) } else { (0, 0) };
        let (uid, gid) = self.owner.unwrap_or(own);
        Entry {
            path: path.to_vec(),
            link: Vec::new(),
            kind: TarKind::File,
            mode: node.mode,
            uid,
            gid,
            mtime: Time { seconds: node.mtime.0, nanos: node.mtime.1 },
            device: (0, 0),
            size: 0,
            sparse: None,
            xattrs: node.xattrs.clone(),
        }
    }

    /// Another name for what was just written.
    fn second_name(&mut self, path: &[u8], first: &[u8], node: &Node) -> Result<()> {
        let entry = Entry { kind: TarKind::HardLink, link: first.to_vec(), ..self.described(path, node) };
        Ok(self.writer.begin(&entry).map_err(PackError::Write)?)
    }

    fn entry(&mut self, path: &[u8], node: &Node, data: Option<Box<dyn Read + '_>>) -> Result<()> {
        let mut entry = self.described(path, node);
        match &node.kind {
            Kind::File(size) => entry.size = *size,
            Kind::Directory => {
                entry.kind = TarKind::Directory;
                entry.path.push(b'/');
            }
            Kind::Link(target) => {
                entry.kind = TarKind::Symlink;
                entry.link.clone_from(target);
            }
            Kind::CharDevice(major, minor) => (entry.kind, entry.device) = (TarKind::CharDevice, (*major, *minor)),
            Kind::BlockDevice(major, minor) => (entry.kind, entry.device) = (TarKind::BlockDevice, (*major, *minor)),
            Kind::Fifo => entry.kind = TarKind::Fifo,
        }
        self.writer.begin(&entry).map_err(PackError::Write)?;
        let Some(mut data) = data else { return Ok(()) };
        while self.writer.remaining() > 0 {
            let most = usize::try_from(self.writer.remaining()).unwrap_or(usize::MAX).min(self.buffer.len());
            let length = data.read(&mut self.buffer[..most]).context(lossy(path))?;
            if length == 0 {
                return Err(Error::invalid(format!("{} became shorter while it was read", lossy(path))));
            }
            self.writer.data(&self.buffer[..length]).map_err(PackError::Write)?;
        }
        Ok(())
    }
}

fn parent_of(path: &[u8]) -> &[u8] {
    path.iter().rposition(|&b| b == b'/').map_or(&[], |at| &path[..at])
}

fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// Whether a file is an archive, compressed or not.
fn is_archive(part: &CopyPart, one: &Selected) -> bool {
    let Kind::File(size) = one.place.node.kind else { return false };
    let look = || -> io::Result<bool> {
        let mut file = part.source.open(&one.place.path, &one.place.node)?;
        let mut start = Vec::new();
        Read::take(&mut file, Compression::MAGIC as u64).read_to_end(&mut start)?;
        let compression = Compression::detect(&start);
        let mut stream = BufReader::new(compression.decoder(BufReader::new(start.as_slice().chain(file)))?);
        Ok(matches!(Archive::new(&mut stream).next_entry(), Ok(Some(_))))
    };
    size > 0 && look().unwrap_or(false)
}

/// What an archive may grow to: as much as a layer's.
fn growth(one: &Selected) -> Limits {
    let limits = Limits::default();
    let Kind::File(size) = one.place.node.kind else { return limits };
    Limits { bytes: size.saturating_mul(limits.ratio).max(limits.ratio_from), ..limits }
}

/// Extracts an archive into the destination.
fn unpack(
    layer: &NewLayer,
    part: &CopyPart,
    one: &Selected,
    destination: &str,
    owner: Option<(u32, u32)>,
) -> Result<()> {
    let into = layer.view.open(destination, OFlags::PATH | OFlags::DIRECTORY).context(destination)?;
    let options = MergeOptions {
        root: &layer.view.root,
        into: &into,
        path: destination,
        keep_kinds: false,
        owner,
        ids: None,
        limits: growth(one),
    };
    // The data's reader need not be one that another thread may use; the pipe's is.
    let (mut archive, mut end) = io::pipe()?;
    thread::scope(|scope| {
        let sender = scope.spawn(move || -> io::Result<()> {
            let mut file = part.source.open(&one.place.path, &one.place.node)?;
            io::copy(&mut file, &mut end)?;
            end.flush()
        });
        let merged = merge(&mut archive, &options);
        drop(archive);
        let sent = sender.join().unwrap_or_else(|_| Err(io::Error::other("the reading thread panicked")));
        merged.context(lossy(&one.asked))?;
        // What is behind the archive's end may not have been wanted.
        match sent {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e).context(lossy(&one.asked)),
            _ => Ok(()),
        }
    })
}
