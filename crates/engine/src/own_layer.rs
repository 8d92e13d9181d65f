//! A container's own layer beside its image: what the container changed, and what only the engine made in it.

use crate::Engine;
use crate::container::Container;
use gantry_image_store::pack::Found;
use gantry_model::Result;
use gantry_model::error::Context;
use gantry_runtime::overlay;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;

/// Files of the engine's that a start covers with its own.
const FILES: [&[u8]; 3] = [b"hostname", b"hosts", b"resolv.conf"];

/// The layer of a container, and its image.
pub(crate) struct OwnLayer {
    /// The upper directory of the overlay.
    pub(crate) upper: OwnedFd,
    /// The image's files.
    pub(crate) image: OwnedFd,
}

impl OwnLayer {
    pub(crate) fn open(engine: &Engine, container: &Container) -> Result<Self> {
        let layers = container.read().layers.clone();
        let path = engine.dirs(&container.id).upper();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let upper = openat(CWD, &path, flags, Mode::empty()).map_err(io::Error::from).context(path.display())?;
        // Of an image without layers there is an empty directory at hand: the place where the root is mounted.
        let layers = if layers.is_empty() { vec![engine.dirs(&container.id).merged()] } else { layers };
        let image = overlay::mount(&layers, None).context("mounting the image's layers")?;
        Ok(Self { upper, image })
    }

    /// What the image's directory has under this name.
    pub(crate) fn find(dir: &OwnedFd, name: &[u8]) -> io::Result<Option<Found>> {
        match openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => Found::new(fd).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    fn look(dir: &OwnedFd, name: &[u8]) -> Option<Stat> {
        statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()
    }

    /// A directory in the image's directory.
    pub(crate) fn descend(dir: &OwnedFd, name: &[u8]) -> Option<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(dir, name, flags, Mode::empty()).ok()
    }

    /// Whether this is a place that the engine made for a mount of its own. Docker keeps those in a layer between the
    /// image and the container's, so that nobody sees them as changes.
    pub(crate) fn is_ours(&self, found: &Found, path: &[u8]) -> bool {
        match path {
            b"dev" | b"proc" | b"sys" => {
                Self::look(&self.image, path).is_none() && names(found).is_some_and(|n| n.is_empty())
            }
            b"etc" => self.is_only_ours(found),
            _ => path.strip_prefix(b"etc/").is_some_and(|name| FILES.contains(&name)) && is_empty_file(&found.stat),
        }
    }

    /// `/etc` as it was, but for the places of the engine's files.
    fn is_only_ours(&self, etc: &Found) -> bool {
        let same = Self::look(&self.image, b"etc").is_none_or(|image| {
            (image.st_mode, image.st_uid, image.st_gid) == (etc.stat.st_mode, etc.stat.st_uid, etc.stat.st_gid)
        });
        let ours = |name: &Vec<u8>| {
            FILES.contains(&name.as_slice()) && Self::look(&etc.fd, name).is_some_and(|stat| is_empty_file(&stat))
        };
        same && names(etc).is_some_and(|names| !names.is_empty() && names.iter().all(ours))
    }
}

fn is_empty_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size == 0
}

/// The names in a directory that has no more than the engine would make.
fn names(found: &Found) -> Option<Vec<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = Dir::new(openat(&found.fd, c".", flags, Mode::empty()).ok()?).ok()?;
    let mut names = Vec::new();
    for entry in dir {
        let name = entry.ok()?.file_name().to_bytes().to_vec();
        if !matches!(name.as_slice(), b"." | b"..") {
            names.push(name);
        }
        if names.len() > FILES.len() {
            return None;
        }
    }
    Some(names)
}
