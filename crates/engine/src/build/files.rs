//! An image's files, to be read.

use crate::Engine;
use gantry_image_builder::digest::FileDigest;
use gantry_image_builder::{Kind, Node, Source};
use gantry_image_store::ImageId;
use gantry_image_store::pack::{Found, Step, Walk};
use gantry_model::error::Context;
use gantry_model::{Digest, Error, Result};
use gantry_runtime::overlay;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// The files of an image, or of a directory of ours.
pub(super) struct TreeFiles {
    root: OwnedFd,
    name: String,
}

impl Engine {
    /// Mounts an image's layers for reading.
    pub(super) fn image_files(&self, id: Option<&str>, empty: PathBuf) -> Result<TreeFiles> {
        let root = self.image_root(id, empty)?;
        Ok(TreeFiles { root, name: id.unwrap_or("scratch").chars().take(19).collect() })
    }

    /// The top of an image's files.
    pub(super) fn image_root(&self, id: Option<&str>, empty: PathBuf) -> Result<OwnedFd> {
        let mut layers = match id {
            Some(id) => self.images.rootfs_of(&image_id(id)?)?,
            None => Vec::new(),
        };
        if layers.is_empty() {
            layers.push(empty);
        }
        overlay::mount(&layers, None).context("mounting an image's layers")
    }
}

/// An id as the builder knows it.
pub(super) fn image_id(id: &str) -> Result<ImageId> {
    let digest: Digest = id.parse().map_err(|e| Error::internal(format!("{id}: {e}")))?;
    Ok(ImageId::new(digest))
}

/// A regular file of root's.
pub(super) fn file_node(size: u64, mode: u32, seconds: i64) -> Node {
    Node { kind: Kind::File(size), mode, uid: 0, gid: 0, mtime: (seconds, 0), xattrs: Vec::new(), data: 0, inode: 0 }
}

impl TreeFiles {
    /// The files in a directory that a descriptor is of.
    #[cfg(test)]
    fn new(root: OwnedFd, name: &str) -> Self {
        Self { root, name: name.to_owned() }
    }

    fn openat(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { &b"."[..] } else { path };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        loop {
            match openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                // The last part may be a link, which is looked at and not followed.
                Err(Errno::LOOP) if flags.contains(OFlags::NOFOLLOW) => return self.link(path, flags),
                opened => return opened,
            }
        }
    }

    fn link(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let at = path.iter().rposition(|&b| b == b'/');
        let (parent, name) = at.map_or((&b"."[..], path), |at| (&path[..at], &path[at + 1..]));
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = openat2(&self.root, parent, directory, Mode::empty(), resolve)?;
        rustix::fs::openat(&parent, name, flags | OFlags::CLOEXEC, Mode::empty())
    }
}

impl Source for TreeFiles {
    fn look(&self, path: &[u8]) -> io::Result<Option<Node>> {
        let found = match self.openat(path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(fd) => Found::new(fd)?,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        node(&found)
    }

    fn list(&self, path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let dir = self.openat(path, OFlags::PATH | OFlags::DIRECTORY)?;
        let mut walk = Walk::new(&dir, b"")?;
        let mut names = Vec::new();
        while let Some(step) = walk.step()? {
            if matches!(step, Step::Found(_)) {
                names.push(walk.name().to_vec());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open(&self, path: &[u8], _: &Node) -> io::Result<Box<dyn Read + '_>> {
        let file = self.openat(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        Ok(Box::new(io::BufReader::with_capacity(64 << 10, File::from(file))))
    }

    fn digest(&self, path: &[u8], node: &Node) -> io::Result<[u8; 32]> {
        let name = if node.kind == Kind::Directory { [path, b"/"].concat() } else { path.to_vec() };
        let mut digest = FileDigest::new(&name, node, b"", b"");
        if matches!(node.kind, Kind::File(_)) {
            let mut file = self.open(path, node)?;
            let mut buffer = vec![0; 64 << 10];
            loop {
                let length = file.read(&mut buffer)?;
                if length == 0 {
                    break;
                }
                digest.update(&buffer[..length]);
            }
        }
        Ok(digest.finish())
    }

    fn describe(&self) -> String {
        self.name.clone()
    }
}

/// What was found; a socket is nothing, because it is of no use without its process.
fn node(found: &Found) -> io::Result<Option<Node>> {
    let stat = &found.stat;
    let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    let kind = match found.kind() {
        FileType::RegularFile => Kind::File(u64::try_from(stat.st_size).unwrap_or(0)),
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Link(found.target()?),
        FileType::CharacterDevice => Kind::CharDevice(device.0, device.1),
        FileType::BlockDevice => Kind::BlockDevice(device.0, device.1),
        FileType::Fifo => Kind::Fifo,
        _ => return Ok(None),
    };
    let xattrs = if matches!(kind, Kind::Link(_)) { Vec::new() } else { found.xattrs()? };
    Ok(Some(Node {
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
        xattrs,
        data: 0,
        inode: if stat.st_nlink > 1 { stat.st_ino } else { 0 },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_image_builder::select;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_lead_nowhere_outside() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(path("etc")).unwrap();
        std::fs::write(path("etc/passwd"), "inside").unwrap();
        symlink("/etc/passwd", path("absolute")).unwrap();
        symlink("../../../../../etc/passwd", path("relative")).unwrap();
        symlink("/etc", path("dir")).unwrap();
        let files = TreeFiles::new(File::open(dir.path()).unwrap().into(), "test");
        for name in ["absolute", "relative", "dir/passwd", "etc/passwd"] {
            let found = select::select(&files, name, false).unwrap().remove(0);
            assert_eq!(found.place.path, b"etc/passwd");
            let mut text = String::new();
            files.open(&found.place.path, &found.place.node).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "inside", "{name}");
        }
        assert!(files.look(b"dir/passwd").is_err() || files.look(b"dir/passwd").unwrap().is_none());
        assert!(matches!(files.look(b"dir").unwrap().unwrap().kind, Kind::Link(_)));
        assert_eq!(files.look(b"nope/x").unwrap(), None);
        assert_eq!(files.list(b"").unwrap().len(), 4);
    }
}
