//! The volumes of a new container: found or made, and filled with what the image has in their place.

use super::mounts::{VolumeWanted, Wanted};
use crate::Engine;
use crate::volumes::{ANONYMOUS, fills};
use gantry_api_types::{Mount, MountPoint};
use gantry_image_store::ImageStore;
use gantry_model::error::Context;
use gantry_model::{Error, Id, Result};
use gantry_runtime::overlay;
use gantry_volumes::{Pin, Staged, VOLUME_DRIVER, copy_tree};
use rustix::fs::{CWD, Dir, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What must happen to the volumes beside the container's own record.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// The container's mounts.
    pub(super) points: Vec<MountPoint>,
    /// Anonymous volumes, which become real together with the container.
    pub(super) staged: Vec<Staged>,
    /// Volumes that this creation has made, with their drivers.
    pub(super) new: Vec<(String, String)>,
    /// Keep named volumes from being removed until the container is known.
    pub(super) pins: Vec<Pin>,
    /// What was asked of mounts that came from other containers.
    pub(super) inherited: Vec<Mount>,
    /// Keep the layers of mounted images.
    pub(super) images: Vec<ImageHold>,
}

/// Makes and fills the volumes; blocks on the disk, and for each named one that is new on an fsync.
pub(super) fn make(engine: &Engine, id: Id, wanted: Vec<Wanted>, layers: &[PathBuf]) -> Result<Made> {
    let mut image = Image { layers, root: None };
    let mut made = Made::default();
    for Wanted { mut point, volume, inherited } in wanted {
        made.inherited.extend(inherited);
        if point.r#type == "image" {
            made.images.push(ImageHold::new(engine, id, &point)?);
        }
        if let Some(volume) = volume {
            let request = &volume.request;
            let plain = request.options.is_none() && matches!(request.driver.as_str(), "" | VOLUME_DRIVER);
            if request.name.is_empty() && plain {
                stage(engine, &mut made, &mut image, &mut point, volume)?;
            } else {
                find_or_make(engine, id, &mut made, &mut image, &mut point, volume)?;
            }
        }
        made.points.push(point);
    }
    Ok(made)
}

/// An anonymous volume, which begins to exist together with the container.
fn stage(
    engine: &Engine,
    made: &mut Made,
    image: &mut Image<'_>,
    point: &mut MountPoint,
    volume: VolumeWanted,
) -> Result<()> {
    let mut labels = volume.request.labels.unwrap_or_default();
    labels.insert(ANONYMOUS.to_owned(), String::new());
    let staged = engine.volumes.stage_anonymous(Some(labels))?;
    if volume.copy {
        image.copy(Path::new(&point.destination), &staged.data())?;
    }
    staged.name().clone_into(&mut point.name);
    VOLUME_DRIVER.clone_into(&mut point.driver);
    point.source = engine.volumes.mountpoint(&point.name).display().to_string();
    made.staged.push(staged);
    Ok(())
}

fn find_or_make(
    engine: &Engine,
    id: Id,
    made: &mut Made,
    image: &mut Image<'_>,
    point: &mut MountPoint,
    volume: VolumeWanted,
) -> Result<()> {
    let target = PathBuf::from(&point.destination);
    let VolumeWanted { request, copy, subpath } = volume;
    let whole = copy && subpath.is_empty();
    let mut fill = |to: &Path| if whole { image.copy(&target, to).map_err(io::Error::other) } else { Ok(()) };
    let (known, new) = engine.make_volume(request, &mut fill)?;
    made.pins.push(engine.volumes.pin(&known.name)?);
    if new {
        made.new.push((known.name.clone(), known.driver.clone()));
    }
    let plain = known.is_local() && known.driver_mount().is_none();
    if whole && plain && !new {
        engine.volumes.fill_if_empty(&known.name, fill)?;
    } else if copy && !(whole && plain) && image.has(&target)? {
        fill_mounted(engine, id, &known.name, &subpath, |to| image.copy_to(&target, to))?;
    }
    point.source = if known.is_local() {
        engine.volumes.mountpoint(&known.name).display().to_string()
    } else {
        // Known when it is mounted.
        String::new()
    };
    (point.name, point.driver) = (known.name, known.driver);
    Ok(())
}

/// Fills a volume that must be mounted for that, or a part of one. As in Docker a part that is not there is the start's
/// business, and a volume that cannot be mounted is an error already now.
fn fill_mounted(
    engine: &Engine,
    id: Id,
    name: &str,
    subpath: &str,
    copy: impl FnOnce(BorrowedFd<'_>) -> Result<()> + Send,
) -> Result<()> {
    let user = format!("fill-{id}");
    let mountpoint = engine.volumes.mountpoint(name);
    let source = engine.mount_volume(name, &user);
    let source = source.map_err(|e| e.context(format!("error while mounting volume '{}'", mountpoint.display())))?;
    let turn = engine.volumes.turn_to_fill(name);
    let filled = source.within(|base: OwnedFd| -> io::Result<Result<()>> {
        let Some(to) = fills::directory(&base, subpath)? else { return Ok(Ok(())) };
        if !is_empty(&to)? {
            return Ok(Ok(()));
        }
        Ok(turn.fill(to.as_fd(), subpath, |to| copy(to).map_err(io::Error::other)).map_err(Error::from))
    });
    drop(turn);
    engine.handle.block_on(engine.unmount_volume(name, &user));
    filled.context(format!("copying the image's files into volume {name}"))?
}

fn is_empty(directory: &OwnedFd) -> io::Result<bool> {
    for entry in Dir::read_from(directory)? {
        // What a new file system has of its own does not count.
        if !matches!(entry?.file_name().to_bytes(), b"." | b".." | b"lost+found") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Keeps the layers of an image that is mounted, until it is dropped or the container is real.
#[derive(Debug)]
pub(super) struct ImageHold {
    images: ImageStore,
    hold: Option<Id>,
}

impl ImageHold {
    fn new(engine: &Engine, container: Id, point: &MountPoint) -> Result<Self> {
        let hold = engine.hold_image(container, point)?;
        Ok(Self { images: engine.images.clone(), hold: Some(hold) })
    }

    pub(super) fn keep(mut self) {
        self.hold = None;
    }
}

impl Drop for ImageHold {
    fn drop(&mut self) {
        if let Some(Err(e)) = self.hold.map(|hold| self.images.release_layers(hold)) {
            tracing::warn!("releasing an image that was to be mounted: {e}");
        }
    }
}

/// The image's files, mounted (detached) when they are first needed.
struct Image<'a> {
    layers: &'a [PathBuf],
    root: Option<OwnedFd>,
}

impl Image<'_> {
    /// Copies the directory at `path` into `to`, if the image has one there.
    fn copy(&mut self, path: &Path, to: &Path) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let to = rustix::fs::openat(CWD, to, flags, Mode::empty()).map_err(io::Error::from)?;
        self.copy_to(path, to.as_fd())
    }

    fn copy_to(&mut self, path: &Path, to: BorrowedFd<'_>) -> Result<()> {
        match self.directory(path)? {
            Some(from) => {
                copy_tree(from.as_fd(), to).context(format!("copying {} of the image into a volume", path.display()))
            }
            None => Ok(()),
        }
    }

    /// Whether there is something to copy.
    fn has(&mut self, path: &Path) -> Result<bool> {
        Ok(self.directory(path)?.is_some())
    }

    fn directory(&mut self, path: &Path) -> Result<Option<OwnedFd>> {
        if self.layers.is_empty() {
            return Ok(None);
        }
        if self.root.is_none() {
            self.root = Some(overlay::mount(self.layers, None).context("mounting the image's layers")?);
        }
        let root = self.root.as_ref().expect("mounted above");
        // Links in the image are followed as in the container: inside its root.
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let open = |flags| openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve);
        match open(OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(from) => Ok(Some(from)),
            Err(Errno::NOTDIR) if open(OFlags::PATH).is_ok() => {
                Err(Error::invalid(format!("cannot mount volume over existing file, file exists {}", path.display())))
            }
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => Ok(None),
            Err(e) => Err(io::Error::from(e)).context(format!("opening {} in the image", path.display())),
        }
    }
}
