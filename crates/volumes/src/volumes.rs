//! The index of volumes, and the verbs on them.

use crate::error::{Result, VolumeError};
use crate::options::{VOLUME_DRIVER, check_name, check_options};
use crate::recover;
use crate::volume::Volume;
use gantry_model::{Id, Timestamp};
use gantry_state_db::{Batch, Db, Table};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The rows of all volumes.
pub(crate) const VOLUMES: Table<Volume> = Table::new("volumes");

/// Every volume of the daemon. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Volumes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    db: Db,
    index: Mutex<Index>,
    /// Wakes who waits for a name that is being created or removed.
    settled: Condvar,
}

#[derive(Debug, Default)]
struct Index {
    volumes: BTreeMap<String, Volume>,
    /// Names on their way in or out; whoever put a name here takes it out again.
    changing: HashSet<String>,
    /// Names that are being filled from an image.
    filling: HashSet<String>,
    /// Creations of containers that are going to use a volume and are not in the registry yet.
    pins: HashMap<String, usize>,
}

/// What a client asks for.
#[derive(Debug, Clone, Default)]
pub struct CreateRequest {
    /// Empty for a generated name.
    pub name: String,
    /// Empty or `local`.
    pub driver: String,
    /// The driver's options.
    pub options: Option<BTreeMap<String, String>>,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
}

/// Keeps a volume from being removed while a container that will use it is created.
#[derive(Debug)]
pub struct Pin {
    volumes: Volumes,
    name: String,
}

/// An anonymous volume that is not there yet: fill [`Staged::data`], put [`Staged::batch`] into the
/// commit that makes its container durable, then [`Staged::publish`]. Dropped, it leaves nothing.
#[derive(Debug)]
pub struct Staged {
    volumes: Volumes,
    volume: Volume,
    published: bool,
}

/// A volume on its way out. Dropped before [`Leaving::finish`], it is back.
#[derive(Debug)]
pub struct Leaving {
    volumes: Volumes,
    volume: Volume,
    gone: bool,
}

impl Volumes {
    /// Opens `<data_root>/volumes` and settles what a crash left behind.
    pub fn open(data_root: &Path, db: Db) -> Result<Self> {
        let root = data_root.join("volumes");
        DirBuilder::new().recursive(true).mode(0o701).create(&root).map_err(VolumeError::io("", "create directory"))?;
        let volumes = recover::settle(&root, &db)?;
        let index = Mutex::new(Index { volumes, ..Index::default() });
        Ok(Self(Arc::new(Shared { root, db, index, settled: Condvar::new() })))
    }

    /// Where the data of volume `name` is.
    pub fn mountpoint(&self, name: &str) -> PathBuf {
        self.0.root.join(name).join("_data")
    }

    /// Every volume, by name.
    pub fn list(&self) -> Vec<Volume> {
        self.lock().volumes.values().cloned().collect()
    }

    /// The volume called `name`.
    pub fn get(&self, name: &str) -> Result<Volume> {
        self.lock().volumes.get(name).cloned().ok_or_else(|| VolumeError::NotFound(name.to_owned()))
    }

    /// Makes a volume, durably. One of this name that exists is the answer as it is, whatever the
    /// request says of options and labels: Docker's clients rely on create being idempotent. The
    /// boolean tells whether it is new.
    pub fn create(&self, request: CreateRequest) -> Result<(Volume, bool)> {
        let volume = check(request)?;
        let mut index = self.lock();
        while index.changing.contains(&volume.name) {
            index = self.0.settled.wait(index).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(existing) = index.volumes.get(&volume.name) {
            return Ok((existing.clone(), false));
        }
        index.changing.insert(volume.name.clone());
        drop(index);
        let made = self.make(&volume);
        let mut index = self.lock();
        index.changing.remove(&volume.name);
        if made.is_ok() {
            index.volumes.insert(volume.name.clone(), volume.clone());
        }
        drop(index);
        self.0.settled.notify_all();
        made.map(|()| (volume, true))
    }

    /// Directory, row, rename: in this order a crash leaves nothing or all.
    fn make(&self, volume: &Volume) -> Result<()> {
        let name = &volume.name;
        make_dirs(&self.incoming(name)).map_err(VolumeError::io(name, "create directory"))?;
        self.0
            .db
            .commit(Batch::new().put(VOLUMES, name, volume)?)
            .inspect_err(|_| drop(fs::remove_dir_all(self.incoming(name))))?;
        fs::rename(self.incoming(name), self.0.root.join(name)).map_err(VolumeError::io(name, "create directory"))
    }

    /// Prepares an anonymous volume for a container that is being created.
    pub fn stage_anonymous(&self, labels: Option<BTreeMap<String, String>>) -> Result<Staged> {
        let name = Id::random().to_string();
        let volume = Volume { name, created: Timestamp::now(), labels, options: None, anonymous: true };
        let staged = Staged { volumes: self.clone(), volume, published: false };
        make_dirs(&self.incoming(staged.name())).map_err(VolumeError::io(staged.name(), "create directory"))?;
        Ok(staged)
    }

    /// Runs `copy` on the data directory of `name` if it is empty; one caller at a time for a
    /// volume. What a failed copy has written is removed. The caller pins the volume.
    pub fn fill_if_empty(&self, name: &str, copy: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
        let mut index = self.lock();
        while !index.filling.insert(name.to_owned()) {
            index = self.0.settled.wait(index).unwrap_or_else(PoisonError::into_inner);
        }
        drop(index);
        let filled = fill(&self.mountpoint(name), copy);
        self.lock().filling.remove(name);
        self.0.settled.notify_all();
        filled.map_err(VolumeError::io(name, "copy the image's files"))
    }

    /// Keeps `name` from being removed until the pin is dropped.
    pub fn pin(&self, name: &str) -> Result<Pin> {
        let mut index = self.lock();
        if index.changing.contains(name) || !index.volumes.contains_key(name) {
            return Err(VolumeError::NotFound(name.to_owned()));
        }
        *index.pins.entry(name.to_owned()).or_default() += 1;
        Ok(Pin { volumes: self.clone(), name: name.to_owned() })
    }

    /// Removes a volume and its data, durably. `users` are the ids of containers that use it, asked
    /// for at the moment of the decision.
    pub fn remove(&self, name: &str, users: impl FnOnce() -> Vec<String>) -> Result<Volume> {
        let leaving = self.stage_removal(name, users)?;
        self.0.db.commit(leaving.batch())?;
        Ok(leaving.finish())
    }

    /// Takes a volume out of sight: put [`Leaving::batch`] into a commit, then [`Leaving::finish`].
    pub fn stage_removal(&self, name: &str, users: impl FnOnce() -> Vec<String>) -> Result<Leaving> {
        let mut index = self.lock();
        while index.changing.contains(name) {
            index = self.0.settled.wait(index).unwrap_or_else(PoisonError::into_inner);
        }
        let Some(volume) = index.volumes.get(name).cloned() else {
            return Err(VolumeError::NotFound(name.to_owned()));
        };
        let users = users();
        if !users.is_empty() || index.pins.contains_key(name) {
            return Err(VolumeError::InUse { name: name.to_owned(), users });
        }
        match fs::rename(self.0.root.join(name), self.outgoing(name)) {
            // Somebody deleted the directory by hand.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(VolumeError::io(name, "remove"))?,
        }
        index.changing.insert(name.to_owned());
        Ok(Leaving { volumes: self.clone(), volume, gone: false })
    }

    fn incoming(&self, name: &str) -> PathBuf {
        self.0.root.join(format!(".new-{name}"))
    }

    fn outgoing(&self, name: &str) -> PathBuf {
        self.0.root.join(format!(".old-{name}"))
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.0.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Staged {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.volume.name
    }

    /// The directory to fill before the commit.
    pub fn data(&self) -> PathBuf {
        self.volumes.incoming(self.name()).join("_data")
    }

    /// The row.
    pub fn batch(&self) -> Result<Batch> {
        Ok(Batch::new().put(VOLUMES, self.name(), &self.volume)?)
    }

    /// To be called when the batch is durable.
    pub fn publish(mut self) -> Result<()> {
        // From here on the row decides, also if the rename fails.
        self.published = true;
        let home = self.volumes.0.root.join(self.name());
        fs::rename(self.volumes.incoming(self.name()), home)
            .map_err(VolumeError::io(self.name(), "create directory"))?;
        self.volumes.lock().volumes.insert(self.volume.name.clone(), self.volume.clone());
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.published {
            // What stays behind has no row and is deleted at the next start.
            drop(fs::remove_dir_all(self.volumes.incoming(self.name())));
        }
    }
}

impl Leaving {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.volume.name
    }

    /// The removal of its row.
    pub fn batch(&self) -> Batch {
        Batch::new().delete(VOLUMES, self.name())
    }

    /// To be called when the batch is durable: deletes the data.
    pub fn finish(mut self) -> Volume {
        self.gone = true;
        // Gone for the client already; what cannot be deleted now is deleted at the next start.
        match fs::remove_dir_all(self.volumes.outgoing(self.name())) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("volume {}: its directory could not be deleted: {e}", self.name());
            }
            _ => {}
        }
        self.volume.clone()
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let (shared, name) = (&self.volumes.0, &self.volume.name);
        if !self.gone
            && let Err(e) = fs::rename(self.volumes.outgoing(name), shared.root.join(name))
        {
            tracing::error!("volume {name}: its directory could not be put back: {e}");
        }
        let mut index = self.volumes.lock();
        index.changing.remove(name);
        if self.gone {
            index.volumes.remove(name);
        }
        drop(index);
        shared.settled.notify_all();
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut index = self.volumes.lock();
        if let Some(count) = index.pins.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                index.pins.remove(&self.name);
            }
        }
    }
}

fn check(request: CreateRequest) -> Result<Volume> {
    let anonymous = request.name.is_empty();
    let name = if anonymous { Id::random().to_string() } else { request.name };
    if !request.driver.is_empty() && request.driver != VOLUME_DRIVER {
        return Err(VolumeError::DriverUnknown { name, driver: request.driver });
    }
    check_name(&name)?;
    if let Some(options) = &request.options {
        check_options(&name, options)?;
    }
    Ok(Volume { name, created: Timestamp::now(), labels: request.labels, options: request.options, anonymous })
}

fn fill(data: &Path, copy: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    if fs::read_dir(data)?.next().is_some() {
        return Ok(());
    }
    let copied = copy(data);
    if copied.is_err() {
        for entry in fs::read_dir(data)?.flatten() {
            let dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            drop(if dir { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) });
        }
    }
    copied
}

/// `dir/_data`, replacing what an earlier attempt left.
pub(crate) fn make_dirs(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    DirBuilder::new().mode(0o701).create(dir)?;
    let data = dir.join("_data");
    fs::create_dir(&data)?;
    // Whatever umask the daemon was started with: any user of a container may pass.
    fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o755))
}
