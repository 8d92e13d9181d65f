//! A context's archive becomes an index and one file with all data, read once and never unpacked.

use super::files::file_node;
use gantry_image_builder::digest::FileDigest;
use gantry_image_builder::tree::Entry as TreeEntry;
use gantry_image_builder::{Ignore, Kind, Node, Place, Source, Tree, source, tree};
use gantry_image_store::Compression;
use gantry_image_store::tar::{Archive, Entry, Kind as TarKind};
use gantry_model::error::Context;
use gantry_model::{Error, Result};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Bytes of a block.
const BLOCK: usize = 512;
/// What may follow an archive's end: padding of the program that wrote it.
const MAX_TRAILER: u64 = 64 << 20;

/// A context's files: an index, and one file with the data of all of them.
#[derive(Debug)]
pub(super) struct Spool {
    tree: Tree,
    data: File,
    /// What all of it is known by, where that is not what is in its files.
    pub(super) version: Option<String>,
}

impl Spool {
    /// Reads an archive, compressed or not. The data goes to a file without a name in `dir`.
    pub(super) fn read(body: &mut dyn Read, dir: &Path) -> Result<Self> {
        let (_, mut stream) = opened(body)?;
        Self::archive(&mut stream, dir)
    }

    /// Reads an archive or, if it is none, a Dockerfile alone.
    pub(super) fn read_any(body: &mut dyn Read, dir: &Path) -> Result<Self> {
        let (compression, mut stream) = opened(body)?;
        // A buffer may end anywhere: what decides is the first block.
        let mut start = Vec::with_capacity(BLOCK);
        stream.by_ref().take(BLOCK as u64).read_to_end(&mut start).map_err(unreadable)?;
        let is_archive = compression != Compression::None || looks_like_tar(&start);
        let mut stream = io::Cursor::new(start).chain(stream);
        if is_archive {
            return Self::archive(&mut stream, dir);
        }
        let mut text = Vec::new();
        let most = gantry_image_builder::dockerfile::MAX_SIZE as u64;
        stream.take(most + 1).read_to_end(&mut text).map_err(unreadable)?;
        Self::of_file("Dockerfile", &text, dir)
    }

    /// A context of one file.
    pub(super) fn of_file(name: &str, content: &[u8], dir: &Path) -> Result<Self> {
        let mut data = unnamed(dir)?;
        data.write_all(content).context("keeping the build context")?;
        let node = file_node(content.len() as u64, 0o600, 0);
        let mut digest = FileDigest::new(name.as_bytes(), &node, b"", b"");
        digest.update(content);
        let mut tree = index(dir);
        tree.add(&Tree::clean(name.as_bytes())?, TreeEntry { node, digest: digest.finish() })?;
        Ok(Self { tree: tree.finish()?, data, version: None })
    }

    fn archive(stream: &mut dyn BufRead, dir: &Path) -> Result<Self> {
        let mut writer = Writer { out: BufWriter::with_capacity(256 << 10, unnamed(dir)?), at: 0 };
        let mut tree = index(dir);
        let mut archive = Archive::new(&mut *stream);
        while let Some(entry) = archive.next_entry().map_err(|e| bad_archive(&e))? {
            add(&mut tree, &mut archive, &entry, &mut writer)?;
        }
        // The client may still be sending.
        io::copy(&mut archive.into_inner().take(MAX_TRAILER), &mut io::sink()).map_err(unreadable)?;
        let data =
            writer.out.into_inner().map_err(io::IntoInnerError::into_error).context("keeping the build context")?;
        Ok(Self { tree: tree.finish()?, data, version: None })
    }

    /// The same without what the rules leave out.
    pub(super) fn without(self, rules: &Ignore) -> Result<Self> {
        Ok(Self { tree: self.tree.without(rules).context("the index of the build context")?, ..self })
    }

    /// What a small file has in it; `None` if it is not there.
    pub(super) fn small_file(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>> {
        let Some(Place { path, node }) = source::resolve(self, path.as_bytes())? else { return Ok(None) };
        let Kind::File(size) = node.kind else { return Ok(None) };
        if size > most as u64 {
            let path = String::from_utf8_lossy(&path).into_owned();
            return Err(Error::invalid(format!("{path} is larger than {most} bytes")));
        }
        let mut content = Vec::new();
        self.open(&path, &node)?.read_to_end(&mut content)?;
        Ok(Some(content))
    }
}

impl Source for Spool {
    fn look(&self, path: &[u8]) -> io::Result<Option<Node>> {
        if path.is_empty() {
            return Ok(Some(TreeEntry::directory().node));
        }
        Ok(self.tree.get(path)?.map(|entry| entry.node))
    }

    fn list(&self, path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.tree.list(path)
    }

    fn open(&self, _: &[u8], node: &Node) -> io::Result<Box<dyn Read + '_>> {
        let Kind::File(size) = node.kind else { return Ok(Box::new(io::empty())) };
        Ok(Box::new(BufReader::with_capacity(64 << 10, Slice { data: &self.data, at: node.data, left: size })))
    }

    fn digest(&self, path: &[u8], _: &Node) -> io::Result<[u8; 32]> {
        Ok(self.tree.get(path)?.map(|entry| entry.digest).unwrap_or_default())
    }

    fn below(&self, dir: &[u8]) -> io::Result<Option<source::Entries<'_>>> {
        let entries = self.tree.below(dir)?.map(|found| found.map(|(path, entry)| (path, entry.node, entry.digest)));
        Ok(Some(Box::new(entries)))
    }

    fn describe(&self) -> String {
        "build context".to_owned()
    }

    fn version(&self) -> Option<String> {
        self.version.clone()
    }
}

/// A part of the data.
struct Slice<'f> {
    data: &'f File,
    at: u64,
    left: u64,
}

impl Read for Slice<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let length = self.data.read_at(&mut buffer[..most], self.at)?;
        if length == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += length as u64;
        self.left -= length as u64;
        Ok(length)
    }
}

/// The data file while it is written.
struct Writer {
    out: BufWriter<File>,
    at: u64,
}

/// An index whose files lie in a directory.
fn index(dir: &Path) -> tree::Builder {
    let dir = dir.to_owned();
    tree::Builder::new(Arc::new(move || unnamed(&dir).map_err(io::Error::other)))
}

fn add<R: BufRead>(
    tree: &mut tree::Builder,
    archive: &mut Archive<R>,
    entry: &Entry,
    writer: &mut Writer,
) -> Result<()> {
    let path = Tree::clean(&entry.path)?;
    if path.is_empty() {
        return Ok(());
    }
    let size = entry.sparse.as_ref().map_or(entry.size, |map| map.size);
    let kind = match entry.kind {
        TarKind::File => Kind::File(size),
        TarKind::Directory => Kind::Directory,
        TarKind::Symlink => Kind::Link(entry.link.clone()),
        TarKind::CharDevice => Kind::CharDevice(entry.device.0, entry.device.1),
        TarKind::BlockDevice => Kind::BlockDevice(entry.device.0, entry.device.1),
        TarKind::Fifo => Kind::Fifo,
        TarKind::HardLink => {
            let target = Tree::clean(&entry.link)?;
            return Ok(tree.add_link(&path, &target)?);
        }
    };
    let node = Node {
        kind,
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime: (entry.mtime.seconds, entry.mtime.nanos),
        xattrs: entry.xattrs.clone(),
        data: writer.at,
        inode: 0,
    };
    let mut digest = FileDigest::new(&entry.path, &node, b"", b"");
    if matches!(node.kind, Kind::File(_)) {
        keep(archive, entry, writer, size, &mut digest)?;
    }
    tree.add(&path, TreeEntry { node, digest: digest.finish() })?;
    Ok(())
}

/// Moves a file's data; holes stay holes.
fn keep<R: BufRead>(
    archive: &mut Archive<R>,
    entry: &Entry,
    writer: &mut Writer,
    size: u64,
    digest: &mut FileDigest,
) -> Result<()> {
    let start = writer.at;
    let whole = [(0, entry.size)];
    let segments: Vec<(u64, u64)> = match &entry.sparse {
        Some(map) => map.segments.iter().map(|s| (s.offset, s.length)).collect(),
        None => whole.to_vec(),
    };
    for (offset, length) in segments {
        writer.go_to(start + offset)?;
        digest.update(&offset.to_le_bytes()[..if entry.sparse.is_some() { 8 } else { 0 }]);
        let mut left = length;
        while left > 0 {
            let data = archive.data().map_err(|e| bad_archive(&e))?;
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
            if most == 0 {
                return Err(Error::invalid("cannot read the build context: it ends in the middle of a file"));
            }
            digest.update(&data[..most]);
            writer.out.write_all(&data[..most]).context("keeping the build context")?;
            archive.consume(most);
            writer.at += most as u64;
            left -= most as u64;
        }
    }
    writer.go_to(start + size)
}

impl Writer {
    fn go_to(&mut self, at: u64) -> Result<()> {
        if at != self.at {
            self.out.seek(SeekFrom::Start(at)).context("keeping the build context")?;
            // A hole at the end is part of the file, too.
            if at > self.out.get_ref().metadata()?.len() {
                self.out.get_ref().set_len(at).context("keeping the build context")?;
            }
            self.at = at;
        }
        Ok(())
    }
}

/// A stream behind its compression.
fn opened<'r>(body: &'r mut dyn Read) -> Result<(Compression, BufReader<Box<dyn Read + 'r>>)> {
    let mut start = Vec::new();
    Read::take(&mut *body, Compression::MAGIC as u64).read_to_end(&mut start).map_err(unreadable)?;
    let compression = Compression::detect(&start);
    let stream = BufReader::with_capacity(256 << 10, io::Cursor::new(start).chain(body));
    Ok((compression, BufReader::with_capacity(256 << 10, compression.decoder(stream)?)))
}

/// Whether a stream that is not compressed begins with an archive's header.
pub(super) fn looks_like_tar(start: &[u8]) -> bool {
    let Some(block) = start.get(..BLOCK) else { return false };
    block.iter().all(|b| *b == 0) || matches!(Archive::new(block).next_entry(), Ok(Some(_)))
}

/// A file that nobody else sees, and that goes with its descriptor.
pub(super) fn unnamed(dir: &Path) -> Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = open(dir, flags, Mode::RUSR | Mode::WUSR).map_err(io::Error::from).context(dir.display())?;
    Ok(file.into())
}

fn bad_archive(e: &dyn std::fmt::Display) -> Error {
    Error::invalid(format!("Error processing tar file: {e}"))
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn unreadable(e: io::Error) -> Error {
    Error::invalid(format!("cannot read the build context: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_image_store::tar::{Time, Writer as TarWriter};

    fn archive(files: &[(&str, TarKind, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = TarWriter::new(&mut bytes);
        for (path, kind, content) in files {
            let is_file = *kind == TarKind::File;
            let entry = Entry {
                path: path.as_bytes().to_vec(),
                link: if is_file { Vec::new() } else { content.as_bytes().to_vec() },
                kind: *kind,
                mode: 0o644,
                uid: 1,
                gid: 2,
                mtime: Time { seconds: 5, nanos: 0 },
                device: (0, 0),
                size: if is_file { content.len() as u64 } else { 0 },
                sparse: None,
                xattrs: Vec::new(),
            };
            writer.begin(&entry).unwrap();
            if is_file && !content.is_empty() {
                writer.data(content.as_bytes()).unwrap();
            }
        }
        writer.finish().unwrap();
        bytes
    }

    fn text(spool: &Spool, path: &str) -> Option<String> {
        spool.small_file(path, 100).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn files_are_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = archive(&[
            ("./a", TarKind::File, "first"),
            ("b/c", TarKind::File, "second"),
            ("d", TarKind::HardLink, "a"),
            ("l", TarKind::Symlink, "/b/c"),
            ("a", TarKind::File, "third"),
        ]);
        let spool = Spool::read(&mut &bytes[..], dir.path()).unwrap();
        assert_eq!(text(&spool, "a").as_deref(), Some("third"));
        assert_eq!(text(&spool, "b/c").as_deref(), Some("second"));
        assert_eq!(text(&spool, "d").as_deref(), Some("first"));
        assert_eq!(text(&spool, "l").as_deref(), Some("second"));
        assert_eq!(text(&spool, "b"), None);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn hostile_archives() {
        let dir = tempfile::tempdir().unwrap();
        let read = |files: &[(&str, TarKind, &str)]| Spool::read(&mut &archive(files)[..], dir.path()).map(drop);
        assert!(read(&[("../a", TarKind::File, "x")]).is_err());
        assert!(read(&[("a", TarKind::HardLink, "/etc/passwd")]).is_err());
        assert!(read(&[("a", TarKind::Symlink, "/etc"), ("a/passwd", TarKind::File, "x")]).is_err());
        let bytes = archive(&[("a", TarKind::File, "content")]);
        assert!(Spool::read(&mut &bytes[..515], dir.path()).is_err());
        assert!(Spool::read(&mut &b"FROM scratch\n"[..], dir.path()).is_err());
    }

    #[test]
    fn a_text_alone_is_a_dockerfile() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::read_any(&mut &b"FROM scratch\n"[..], dir.path()).unwrap();
        assert_eq!(text(&spool, "Dockerfile").as_deref(), Some("FROM scratch\n"));
        let bytes = archive(&[("a", TarKind::File, "x")]);
        assert_eq!(text(&Spool::read_any(&mut &bytes[..], dir.path()).unwrap(), "a").as_deref(), Some("x"));
    }
}
