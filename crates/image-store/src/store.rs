//! The store: opening it, and the few places where its state changes.

use crate::{
    Image, ImageId,
    extract::Limits,
    files::Files,
    layout,
    lease::Lease,
    partial::keep as partial,
    records::{DAMAGED, DETACHED, IMAGES, ImageRecord, REFERENCES, ReferenceRecord},
    recover,
    state::State,
    sync::Pending,
};
use gantry_model::{Digest, Error, Id, Reference, Result, Timestamp, error::Context};
use gantry_state_db::{Batch, Db};
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

/// The images of a data root. Clones share it; every method blocks, so async callers use a thread for it.
#[derive(Debug, Clone)]
pub struct ImageStore {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) files: Files,
    pub(crate) db: Db,
    pub(crate) limits: Limits,
    /// Whether what dead processes left was removed when the store was opened.
    pub(crate) swept: bool,
    pub(crate) pending: Arc<Pending>,
    /// Blobs that are being fetched.
    fetching: Mutex<HashSet<Digest>>,
    /// How often the disk was found to be full.
    full: AtomicU64,
    state: RwLock<State>,
    /// Held by whoever changes the database and then the state, so that the two agree. Taken before `state`.
    changing: Mutex<()>,
}

/// What the end of an image's uses removed.
#[derive(Debug, Default)]
pub(crate) struct Released {
    /// Chain ids that no image has any more, the top first.
    pub(crate) chains: Vec<Digest>,
    /// Bytes of file data in the directories that went.
    pub(crate) freed: u64,
}

/// A tag that was taken from another image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The tag.
    pub reference: Reference,
    /// The image that had it.
    pub from: ImageId,
}

impl ImageStore {
    /// Opens the store below `data_root`. Whatever an earlier process left half-made is removed.
    pub fn open(data_root: &Path, db: Db) -> Result<Self> {
        Self::open_with_limits(data_root, db, Limits::default())
    }

    /// Opens the store with other bounds on archives.
    pub fn open_with_limits(data_root: &Path, db: Db, limits: Limits) -> Result<Self> {
        let files = Files::open(data_root)?;
        let mut records = db.load(IMAGES).map_err(Error::from)?;
        let mut detached = db.load(DETACHED).map_err(Error::from)?;
        let mut dropped = recover::check(&files, limits, &mut records)?;
        dropped.extend(recover::check(&files, limits, &mut detached)?);

        let mut state = load(&db, records, detached)?;
        forget(&db, &mut state, &dropped)?;
        sweep(&files, &mut state, &recover::boot()?)?;
        layout::mark(&files)?;
        let store = Self::new(files, db, limits, state, true);
        store.inner.index_later();
        store.inner.sync_unsynced();
        Ok(store)
    }

    /// Opens the store of a data root that no daemon uses, to look at it: nothing is swept, checked or mended. Only
    /// [`ImageStore::verify`] and what reads should be called.
    pub fn open_to_verify(data_root: &Path, db: Db) -> Result<Self> {
        let records = db.load(IMAGES).map_err(Error::from)?;
        let detached = db.load(DETACHED).map_err(Error::from)?;
        let state = load(&db, records, detached)?;
        Ok(Self::new(Files::at(data_root), db, Limits::default(), state, false))
    }

    fn new(files: Files, db: Db, limits: Limits, state: State, swept: bool) -> Self {
        let inner = Inner {
            files,
            db,
            limits,
            swept,
            pending: Arc::default(),
            fetching: Mutex::default(),
            full: AtomicU64::new(0),
            state: RwLock::new(state),
            changing: Mutex::new(()),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Every image, in the order of the ids.
    pub fn list(&self) -> Vec<Arc<Image>> {
        self.inner.read_state().images().cloned().collect()
    }

    /// Whether another image was made from this one.
    pub fn has_children(&self, id: &ImageId) -> bool {
        self.inner.read_state().children(id).next().is_some()
    }

    /// The directories of an image's layers as overlayfs wants them, the top first.
    pub fn rootfs(&self, image: &Image) -> Vec<PathBuf> {
        self.inner.directories(&image.layers)
    }

    /// The same by id, also for an image that was removed while a container stood on it.
    pub fn rootfs_of(&self, id: &ImageId) -> Result<Vec<PathBuf>> {
        let state = self.inner.read_state();
        let layers = state.layers(id).ok_or_else(|| Error::not_found(format!("No such image: {id}")))?;
        Ok(self.inner.directories(layers))
    }

    /// Waits until everything that was imported and loaded so far is on disk.
    pub fn flush(&self) {
        self.inner.pending.wait();
    }
}

impl Inner {
    pub(crate) fn read_state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write_state(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a change of database and state.
    pub(crate) fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The blobs that are being fetched.
    pub(crate) fn fetching(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often the disk was found to be full so far.
    pub(crate) fn times_full(&self) -> u64 {
        self.full.load(Ordering::Relaxed)
    }

    /// Makes room on a full disk: what only saves somebody a download goes, and so does what arrives now and fails.
    pub(crate) fn disk_is_full(&self) {
        self.full.fetch_add(1, Ordering::Relaxed);
        match self.prune_partials() {
            Ok(freed) => tracing::warn!("no space left on device; {freed} bytes of partial layers were removed"),
            Err(e) => tracing::warn!("no space left on device, and partial layers cannot be removed: {e}"),
        }
    }

    fn directories(&self, layers: &[crate::Layer]) -> Vec<PathBuf> {
        // overlayfs refuses a directory that is there twice. The upper one alone gives the same tree: whatever the lower
        // one adds or hides, the upper one adds or hides again.
        let mut seen = HashSet::new();
        let layers = layers.iter().rev().filter(|layer| seen.insert(&layer.diff_id));
        layers.map(|layer| self.files.layer(&layer.diff_id).join("diff")).collect()
    }

    /// Makes an image whose files the lease holds lasting, and gives it its names.
    pub(crate) fn commit_image(
        self: &Arc<Self>,
        id: &ImageId,
        record: ImageRecord,
        names: &[Reference],
        lease: Lease,
    ) -> Result<Vec<Moved>> {
        let (moved, _) = self.commit(id, record, names, false)?;
        // The lease's uses end only after the image's own were counted.
        drop(lease);
        Ok(moved)
    }

    /// The same with leases that are the caller's. An image that is known keeps its record, unless the new one is to
    /// replace it. Says also whether the image is new.
    pub(crate) fn commit(
        self: &Arc<Self>,
        id: &ImageId,
        mut record: ImageRecord,
        names: &[Reference],
        replace: bool,
    ) -> Result<(Vec<Moved>, bool)> {
        let changing = self.change();
        let known = self.read_state().get(id).map(|known| known.record.clone());
        let new = known.is_none();
        let stored = new || replace;
        let mut batch = Batch::new();
        if stored {
            if let Some(known) = &known {
                record.parent.clone_from(&known.parent);
            }
            record.unsynced = Some(recover::boot()?);
            batch = batch.put(IMAGES, id.as_str(), &record).map_err(Error::from)?.delete(DETACHED, id.as_str());
        }
        for name in names {
            batch = batch.put(REFERENCES, &name.to_string(), &now(id)).map_err(Error::from)?;
        }
        self.db.commit(batch).map_err(Error::from)?;

        let mut state = self.write_state();
        let mut replaced = None;
        if stored {
            state.uses.add(id, &record);
            record.layers.iter().for_each(|layer| self.files.forget_journal(&layer.blob));
            state.insert(id, record)?;
            replaced = known.or_else(|| state.detached.remove(id));
        }
        let moved = point(&mut state, id, names);
        drop(state);
        self.index_later();
        if let Some(record) = replaced {
            self.release_record(id, &record);
        }
        if stored {
            // Before the next change, which may be to say that what was queued earlier is on disk.
            self.sync_later([id.clone()]);
        }
        drop(changing);
        Ok((moved, new))
    }

    /// Gives an image another name.
    pub(crate) fn commit_tag(self: &Arc<Self>, id: &ImageId, name: &Reference) -> Result<Vec<Moved>> {
        let _changing = self.change();
        if self.read_state().get(id).is_none() {
            return Err(Error::not_found(format!("No such image: {id}")));
        }
        let batch = Batch::new().put(REFERENCES, &name.to_string(), &now(id)).map_err(Error::from)?;
        self.db.commit(batch).map_err(Error::from)?;
        let mut state = self.write_state();
        let moved = point(&mut state, id, std::slice::from_ref(name));
        drop(state);
        self.index_later();
        Ok(moved)
    }

    /// Ends one use of each of these files and removes those that nobody needs any more, or sets the blobs aside.
    /// Returns the diff ids of the removed layers.
    pub(crate) fn release<'a>(
        &self,
        blobs: impl IntoIterator<Item = &'a Digest>,
        layers: impl IntoIterator<Item = &'a Digest>,
        set_aside: bool,
    ) -> HashSet<Digest> {
        let mut state = self.write_state();
        let mut discarded = Vec::new();
        let mut removed = HashSet::new();
        let mut forgotten = Vec::new();
        for blob in blobs {
            if !state.uses.blobs().remove(blob) {
                continue;
            }
            if set_aside && state.is_sound(blob) {
                self.set_aside(blob);
            } else {
                discarded.extend(self.files.discard_blob(blob.hex()));
                forgotten.extend(state.damaged.contains_key(blob).then(|| blob.clone()));
            }
        }
        for layer in layers {
            if state.uses.layers().remove(layer) {
                discarded.extend(self.files.discard_layer(layer.hex()));
                removed.insert(layer.clone());
            }
        }
        // Deleting a large tree takes time, which nobody else should wait for.
        drop(state);
        drop(discarded);
        for blob in &forgotten {
            self.mended(blob);
        }
        removed
    }

    /// Ends an image's uses.
    pub(crate) fn release_record(&self, id: &ImageId, record: &ImageRecord) -> Released {
        let gone = self.release(record.blobs(id), record.layers.iter().map(|l| &l.diff_id), false);
        let mut state = self.write_state();
        let mut chains: Vec<Digest> = record.layers.iter().map(|l| l.chain_id.clone()).collect();
        chains.retain(|chain| state.uses.chains().remove(chain));
        chains.reverse();
        let mut counted = HashSet::new();
        let freed = record.layers.iter().filter(|l| gone.contains(&l.diff_id) && counted.insert(&l.diff_id));
        Released { chains, freed: freed.map(|l| l.size).sum() }
    }

    /// Whether a container stands on the image.
    pub(crate) fn is_held(state: &State, id: &ImageId) -> bool {
        state.holds.values().any(|held| held == id)
    }
}

/// Containers and the layers they stand on. Holds live in memory: the engine declares them again when it starts.
impl ImageStore {
    /// Keeps the layers of an image for a container, even if the image is removed.
    pub fn hold_layers(&self, container: Id, image: &ImageId) -> Result<()> {
        // A removal that is being written down has seen who holds what, and takes the layers of everybody else away.
        let _changing = self.inner.change();
        let mut state = self.inner.write_state();
        if state.layers(image).is_none() {
            return Err(Error::not_found(format!("No such image: {image}")));
        }
        state.holds.insert(container, image.clone());
        Ok(())
    }

    /// Ends a container's hold; the layers go when the image was removed meanwhile and nobody else needs them.
    pub fn release_layers(&self, container: Id) -> Result<()> {
        let image = self.inner.write_state().holds.remove(&container);
        image.map_or(Ok(()), |image| self.drop_if_unheld(&image))
    }

    /// Drops removed images that no container stands on. To be called once at start, after every container's
    /// [`ImageStore::hold_layers`].
    pub fn drop_unheld(&self) -> Result<()> {
        let detached: Vec<ImageId> = self.inner.read_state().detached.keys().cloned().collect();
        detached.iter().try_for_each(|image| self.drop_if_unheld(image))
    }

    fn drop_if_unheld(&self, image: &ImageId) -> Result<()> {
        let _changing = self.inner.change();
        {
            let state = self.inner.read_state();
            if !state.detached.contains_key(image) || Inner::is_held(&state, image) {
                return Ok(());
            }
        }
        self.inner.db.commit(Batch::new().delete(DETACHED, image.as_str())).map_err(Error::from)?;
        let record = self.inner.write_state().detached.remove(image);
        if let Some(record) = record {
            self.inner.release_record(image, &record);
        }
        Ok(())
    }
}

fn now(id: &ImageId) -> ReferenceRecord {
    ReferenceRecord { image: id.clone(), since: Timestamp::now() }
}

/// Points names at an image and says which images lost them.
fn point(state: &mut State, id: &ImageId, names: &[Reference]) -> Vec<Moved> {
    let mut moved = Vec::new();
    for name in names {
        if let Some(old) = state.references.insert(name.clone(), now(id))
            && old.image != *id
        {
            state.rename(&old.image);
            moved.push(Moved { reference: name.clone(), from: old.image });
        }
    }
    state.rename(id);
    moved
}

/// What the database says.
fn load(db: &Db, images: Vec<(String, ImageRecord)>, detached: Vec<(String, ImageRecord)>) -> Result<State> {
    let mut state = State::default();
    for (reference, record) in db.load(REFERENCES).map_err(Error::from)? {
        let reference = Reference::parse(&reference).map_err(Error::from).context("a stored image name")?;
        state.references.insert(reference, record);
    }
    for (blob, what) in db.load(DAMAGED).map_err(Error::from)? {
        state.damaged.insert(blob.parse().map_err(|_| Error::internal("a stored blob has no digest"))?, what);
    }
    for (id, record) in detached {
        let id = parse_id(&id)?;
        state.uses.add(&id, &record);
        state.detached.insert(id, record);
    }
    for (id, record) in images {
        let id = parse_id(&id)?;
        state.uses.add(&id, &record);
        state.insert(&id, record)?;
    }
    Ok(state)
}

/// Removes dropped images, and names of images that are not there, from database and state.
fn forget(db: &Db, state: &mut State, dropped: &[String]) -> Result<()> {
    let lost: Vec<Reference> = state
        .references
        .iter()
        .filter(|(_, record)| state.get(&record.image).is_none())
        .map(|(name, _)| name.clone())
        .collect();
    let mut batch = Batch::new();
    for id in dropped {
        batch = batch.delete(IMAGES, id).delete(DETACHED, id);
    }
    for name in lost {
        batch = batch.delete(REFERENCES, &name.to_string());
        state.references.remove(&name);
    }
    db.commit(batch).map_err(Error::from)
}

/// Removes blobs and layers that no image needs: a process died between storing them and saying so.
fn sweep(files: &Files, state: &mut State, boot: &str) -> Result<()> {
    let blobs: HashSet<String> = files.blob_names()?.filter(|hex| !state.uses.blobs().contains_hex(hex)).collect();
    let layers: HashSet<String> = files.layer_names()?.filter(|hex| !state.uses.layers().contains_hex(hex)).collect();
    for hex in &blobs {
        if !partial::take_back(files, hex) {
            drop(files.discard_blob(hex));
        }
    }
    partial::sweep(files)?;
    // Directories had the names of chain ids once.
    let renamed = state.diff_ids_by_chain(&layers);
    for name in &layers {
        match renamed.get(name) {
            Some(diff_id) => files.rename_layer(name, diff_id, boot)?,
            None if Files::is_retired(name, boot) => {}
            None => drop(files.discard_layer(name)),
        }
    }
    Ok(())
}

fn parse_id(text: &str) -> Result<ImageId> {
    let digest = text.parse().map_err(|e| Error::internal(format!("the stored image id {text:?}: {e}")))?;
    Ok(ImageId::new(digest))
}
