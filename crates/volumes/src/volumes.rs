//! The index of volumes, and the verbs on them.

use crate::error::{Result, VolumeError};
use crate::fills::{FILLS, Unfinished};
use crate::options::{VOLUME_DRIVER, check_name, check_options};
use crate::uses::Uses;
use crate::volume::Volume;
use crate::{quota, recover};
use gantry_model::{Id, Timestamp};
use gantry_state_db::{Batch, Db, Table};
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The rows of all volumes.
pub(crate) const VOLUMES: Table<Volume> = Table::new("volumes");

/// Every volume of the daemon. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Volumes(pub(crate) Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    root: PathBuf,
    pub(crate) db: Db,
    index: Mutex<Index>,
    /// Wakes who waits for a name that is being created or removed.
    pub(crate) settled: Condvar,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    volumes: BTreeMap<String, Volume>,
    /// Names on their way in or out; whoever put a name here takes it out again.
    changing: HashSet<String>,
    pub(crate) uses: Uses,
    /// Fills of mounts that an earlier daemon has left.
    pub(crate) unfinished: Vec<Unfinished>,
}

/// What a client asks for.
#[derive(Debug, Clone, Default)]
pub struct CreateRequest {
    /// Empty for a generated name.
    pub name: String,
    /// The driver asked for: empty for `local`, or for whichever has a volume of this name. Requests to this crate
    /// are for the local one.
    pub driver: String,
    /// Nobody has chosen the name.
    pub anonymous: bool,
    /// The driver's options.
    pub options: Option<BTreeMap<String, String>>,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
}

/// What [`Volumes::claim`] found.
#[derive(Debug)]
pub enum Claimed {
    /// There is such a volume.
    Existing(Volume),
    /// There is none, and nobody else makes one meanwhile.
    New(Claim),
}

/// A name that is going to be a volume. Dropped before [`Claim::establish`], it is free again.
#[derive(Debug)]
pub struct Claim {
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
        let unfinished = db.load(FILLS)?.into_iter().map(|(_, fill)| fill).collect();
        let index = Mutex::new(Index { volumes, unfinished, ..Index::default() });
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
        self.create_filled(request, |_| Ok(()))
    }

    /// The same; one that is new has what `fill` has put into its directory when it begins to exist.
    pub fn create_filled(
        &self,
        request: CreateRequest,
        fill: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<(Volume, bool)> {
        let volume = check(request)?;
        match self.claim(&volume.name) {
            Claimed::Existing(existing) if existing.is_local() => Ok((existing, false)),
            Claimed::Existing(existing) => Err(VolumeError::NameTaken { name: existing.name, driver: existing.driver }),
            Claimed::New(claim) => {
                self.make(&volume, fill)?;
                claim.appear(volume.clone());
                Ok((volume, true))
            }
        }
    }

    /// Looks for a volume, or keeps its name for one that is being made. Waits for others who do.
    pub fn claim(&self, name: &str) -> Claimed {
        let mut index = self.lock();
        while index.changing.contains(name) {
            index = self.0.settled.wait(index).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(existing) = index.volumes.get(name) {
            return Claimed::Existing(existing.clone());
        }
        index.changing.insert(name.to_owned());
        Claimed::New(Claim { volumes: self.clone(), name: name.to_owned() })
    }

    /// Directory, row, rename: in this order a crash leaves nothing or all.
    fn make(&self, volume: &Volume, fill: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
        let name = &volume.name;
        let incoming = self.incoming(name);
        let prepare = || -> Result<()> {
            make_dirs(&incoming).map_err(VolumeError::io(name, "create directory"))?;
            let limit = quota::wanted(volume);
            if limit > 0 {
                quota::apply(name, &self.0.root, &incoming, limit)?;
            }
            if volume.driver_mount().is_none() {
                fill(&incoming.join("_data")).map_err(VolumeError::io(name, "copy the image's files"))?;
            }
            Ok(self.0.db.commit(Batch::new().put(VOLUMES, name, volume)?)?)
        };
        prepare().inspect_err(|_| drop(fs::remove_dir_all(&incoming)))?;
        fs::rename(self.incoming(name), self.0.root.join(name)).map_err(VolumeError::io(name, "create directory"))
    }

    /// Prepares an anonymous volume for a container that is being created.
    pub fn stage_anonymous(&self, labels: Option<BTreeMap<String, String>>) -> Result<Staged> {
        let name = Id::random().to_string();
        let driver = VOLUME_DRIVER.to_owned();
        let volume = Volume { name, driver, created: Timestamp::now(), labels, options: None, anonymous: true };
        let staged = Staged { volumes: self.clone(), volume, published: false };
        make_dirs(&self.incoming(staged.name())).map_err(VolumeError::io(staged.name(), "create directory"))?;
        Ok(staged)
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
        if !users.is_empty() || index.uses.is_pinned(name) {
            return Err(VolumeError::InUse { name: name.to_owned(), users });
        }
        if !volume.is_local() {
            index.changing.insert(name.to_owned());
            return Ok(Leaving { volumes: self.clone(), volume, gone: false });
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

    pub(crate) fn lock(&self) -> MutexGuard<'_, Index> {
        self.0.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    /// Whether there is such a volume and it stays.
    pub(crate) fn has(&self, name: &str) -> bool {
        !self.changing.contains(name) && self.volumes.contains_key(name)
    }
}

impl Claim {
    /// Makes the row of a volume whose data a plugin keeps, durably.
    pub fn establish(self, volume: Volume) -> Result<Volume> {
        self.volumes.0.db.commit(Batch::new().put(VOLUMES, &volume.name, &volume)?)?;
        self.appear(volume.clone());
        Ok(volume)
    }

    fn appear(&self, volume: Volume) {
        self.volumes.lock().volumes.insert(volume.name.clone(), volume);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.volumes.lock().changing.remove(&self.name);
        self.volumes.0.settled.notify_all();
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

    /// Which volume it is.
    pub fn volume(&self) -> &Volume {
        &self.volume
    }

    /// The removal of its row.
    pub fn batch(&self) -> Batch {
        Batch::new().delete(VOLUMES, self.name())
    }

    /// To be called when the batch is durable: deletes the data.
    pub fn finish(mut self) -> Volume {
        self.gone = true;
        if quota::wanted(&self.volume) > 0 {
            quota::lift(&self.volumes.outgoing(self.name()));
        }
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
            && self.volume.is_local()
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

fn check(request: CreateRequest) -> Result<Volume> {
    let anonymous = request.anonymous || request.name.is_empty();
    let name = if request.name.is_empty() { Id::random().to_string() } else { request.name };
    check_name(&name)?;
    if let Some(options) = &request.options {
        check_options(&name, options)?;
    }
    let CreateRequest { labels, options, .. } = request;
    Ok(Volume { name, driver: VOLUME_DRIVER.to_owned(), created: Timestamp::now(), labels, options, anonymous })
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
