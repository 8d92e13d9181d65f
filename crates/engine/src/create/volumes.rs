//! The volumes of a new container: found or made, and filled with what the image has in their place.

use super::mounts::Wanted;
use crate::Engine;
use gantry_api_types::MountPoint;
use gantry_model::error::Context;
use gantry_model::{Error, Result};
use gantry_runtime::overlay;
use gantry_volumes::{Pin, Staged, copy_tree};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What must happen to the volumes beside the container's own record.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// The container's mounts.
    pub(super) points: Vec<MountPoint>,
    /// Anonymous volumes, which become real together with the container.
    pub(super) staged: Vec<Staged>,
    /// Named volumes that this creation has made.
    pub(super) new: Vec<String>,
    /// Keep named volumes from being removed until the container is known.
    pub(super) pins: Vec<Pin>,
}

/// Makes and fills the volumes; blocks on the disk, and for each named one that is new on an fsync.
pub(super) fn make(engine: &Engine, wanted: Vec<Wanted>, layers: &[PathBuf]) -> Result<Made> {
    let mut image = Image { layers, root: None };
    let mut made = Made::default();
    for Wanted { mut point, volume } in wanted {
        if let Some(volume) = volume {
            let target = PathBuf::from(&point.destination);
            if volume.request.name.is_empty() && volume.request.options.is_none() {
                let staged = engine.volumes.stage_anonymous(volume.request.labels)?;
                if volume.copy {
                    image.copy(&target, &staged.data())?;
                }
                staged.name().clone_into(&mut point.name);
                made.staged.push(staged);
            } else {
                let (known, new) = engine.volumes.create(volume.request)?;
                made.pins.push(engine.volumes.pin(&known.name)?);
                // What a driver option mounts there is none of the image's business.
                if volume.copy && known.driver_mount().is_none() {
                    let copy = |to: &Path| image.copy(&target, to).map_err(io::Error::other);
                    engine.volumes.fill_if_empty(&known.name, copy)?;
                }
                if new {
                    made.new.push(known.name.clone());
                }
                point.name = known.name;
            }
            point.source = engine.volumes.mountpoint(&point.name).display().to_string();
        }
        made.points.push(point);
    }
    Ok(made)
}

/// The image's files, mounted (detached) when they are first needed.
struct Image<'a> {
    layers: &'a [PathBuf],
    root: Option<OwnedFd>,
}

impl Image<'_> {
    /// Copies the directory at `path` into `to`, if the image has one there.
    fn copy(&mut self, path: &Path, to: &Path) -> Result<()> {
        if self.layers.is_empty() {
            return Ok(());
        }
        if self.root.is_none() {
            self.root = Some(overlay::mount(self.layers, None).context("mounting the image's layers")?);
        }
        let root = self.root.as_ref().expect("mounted above");
        // Links in the image are followed as in the container: inside its root.
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let open = |flags| openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve);
        let from = match open(OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(from) => from,
            Err(Errno::NOTDIR) if open(OFlags::PATH).is_ok() => {
                return Err(Error::invalid(format!(
                    "cannot mount volume over existing file, file exists {}",
                    path.display()
                )));
            }
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => return Ok(()),
            Err(e) => return Err(io::Error::from(e)).context(format!("opening {} in the image", path.display())),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let to = rustix::fs::openat(CWD, to, flags, Mode::empty()).map_err(io::Error::from)?;
        copy_tree(from.as_fd(), to.as_fd()).context(format!("copying {} of the image into a volume", path.display()))
    }
}
