//! `GET /containers/{id}/changes`: how the container's files differ from its image's.
//!
//! What a directory has is what counts: one in which something changed is told as modified, with those around it, and
//! one that only has another time is not told.

use crate::Engine;
use crate::own_layer::OwnLayer;
use gantry_api_types::ChangeItem;
use gantry_image_store::pack::{Found, Step, Walk};
use gantry_model::Result;
use gantry_model::error::Context;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
use std::io;
use std::os::fd::OwnedFd;

const MODIFIED: u8 = 0;
const ADDED: u8 = 1;
const DELETED: u8 = 2;

impl Engine {
    /// Tells every change, a directory before what is in it. Blocks.
    pub fn container_changes(&self, name: &str, tell: &mut dyn FnMut(ChangeItem) -> Result<()>) -> Result<()> {
        let container = self.find(name)?;
        let layer = OwnLayer::open(self, &container)?;
        let top = Level { path_len: 0, image: Some(layer.image.try_clone()?), own: None, told: true };
        let mut differ = Differ { layer, levels: vec![top], tell };
        let mut walk = Walk::new(&differ.layer.upper, b"/").context("reading the container's layer")?;
        while let Some(step) = walk.step().context("reading the container's layer")? {
            match step {
                Step::Left => differ.leave(walk.path())?,
                Step::Found(found) => {
                    let told = differ.compare(&found, walk.path(), walk.name())?;
                    if found.kind() == FileType::Directory {
                        differ.enter(&found, walk.path(), walk.name(), told)?;
                        walk.enter(&found).context("reading the container's layer")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A directory on the way down.
struct Level {
    path_len: usize,
    /// The same directory in the image.
    image: Option<OwnedFd>,
    /// The container's, if it hides what the image's has.
    own: Option<OwnedFd>,
    told: bool,
}

struct Differ<'t> {
    layer: OwnLayer,
    levels: Vec<Level>,
    tell: &'t mut dyn FnMut(ChangeItem) -> Result<()>,
}

impl Differ<'_> {
    /// Tells if it is a change; whether it was.
    fn compare(&mut self, found: &Found, path: &[u8], name: &[u8]) -> Result<bool> {
        if self.layer.is_ours(found, &path[1..]) {
            return Ok(false);
        }
        let image = self.levels.last().and_then(|level| level.image.as_ref()).map(|dir| OwnLayer::find(dir, name));
        let image = image.transpose().context("reading the image")?.flatten();
        let kind = match (&image, found.is_whiteout()) {
            (Some(_), true) => DELETED,
            (None, false) => ADDED,
            (Some(image), false) if differs(found, image).context("reading the container's layer")? => MODIFIED,
            _ => return Ok(false),
        };
        self.tell(path, kind).map(|()| true)
    }

    fn enter(&mut self, found: &Found, path: &[u8], name: &[u8], told: bool) -> Result<()> {
        let parent = self.levels.last().and_then(|level| level.image.as_ref());
        let image = parent.and_then(|dir| OwnLayer::descend(dir, name));
        let hides = image.is_some() && found.is_opaque().context("reading the container's layer")?;
        let own = if hides { Some(found.fd.try_clone()?) } else { None };
        self.levels.push(Level { path_len: path.len(), image, own, told });
        Ok(())
    }

    /// Tells what an opaque directory hides.
    fn leave(&mut self, path: &[u8]) -> Result<()> {
        let level = self.levels.last_mut().and_then(|level| Some((level.image.take()?, level.own.take()?)));
        if let Some((image, own)) = level {
            for entry in list(&image).context("reading the image")? {
                let entry = entry.map_err(io::Error::from).context("reading the image")?;
                let name = entry.file_name().to_bytes();
                if !matches!(name, b"." | b"..") && statat(&own, name, AtFlags::SYMLINK_NOFOLLOW).is_err() {
                    self.tell(&[path, b"/", name].concat(), DELETED)?;
                }
            }
        }
        self.levels.pop();
        Ok(())
    }

    /// Tells a change, after the directories that it is in.
    fn tell(&mut self, path: &[u8], kind: u8) -> Result<()> {
        for level in &mut self.levels {
            if !std::mem::replace(&mut level.told, true) {
                (self.tell)(item(&path[..level.path_len], MODIFIED))?;
            }
        }
        (self.tell)(item(path, kind))
    }
}

/// Whether a name that both have means something else in the container.
fn differs(own: &Found, image: &Found) -> io::Result<bool> {
    let (a, b) = (&own.stat, &image.stat);
    if (a.st_mode, a.st_uid, a.st_gid, a.st_rdev) != (b.st_mode, b.st_uid, b.st_gid, b.st_rdev) {
        return Ok(true);
    }
    if own.kind() == FileType::Directory {
        return Ok(false);
    }
    // A time without a fraction comes from an archive, which had no room for it.
    let same_fraction = a.st_mtime_nsec == b.st_mtime_nsec || a.st_mtime_nsec == 0 || b.st_mtime_nsec == 0;
    let same = a.st_size == b.st_size && a.st_mtime == b.st_mtime && same_fraction;
    Ok(!same || own.capabilities()? != image.capabilities()?)
}

fn list(dir: &OwnedFd) -> io::Result<Dir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(Dir::new(openat(dir, c".", flags, Mode::empty())?)?)
}

fn item(path: &[u8], kind: u8) -> ChangeItem {
    ChangeItem { path: String::from_utf8_lossy(path).into_owned(), kind }
}
