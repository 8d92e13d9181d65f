//! Image data reaches the disk, and the layout's index what it lists, behind the client's back.
//!
//! An import answers when its record is durable and its files are complete in the page cache: that survives every
//! death of the daemon. Writing hundreds of megabytes out takes seconds, which the client need not wait for. Until a
//! `syncfs` has returned, the record carries the boot in which the files were written; after a power failure the boot
//! is another, and [`crate::recover`] checks the files before it believes in them.

use crate::{ImageId, ImageStore, layout, records::IMAGES, recover, store::Inner};
use gantry_model::{Error, Result};
use gantry_state_db::Batch;
use std::{
    fs::File,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread,
};

/// Images on their way to the disk.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    queue: Mutex<Queue>,
    idle: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    images: Vec<ImageId>,
    /// The index does not list what is here. Writing it takes milliseconds when there are many images, and only other
    /// programs read it.
    index: bool,
    /// A thread is at work; it takes what is queued meanwhile too.
    working: bool,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the queue is empty and its thread is gone.
    pub(crate) fn wait(&self) {
        let mut queue = self.lock();
        while queue.working {
            queue = self.idle.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether to write the index, and what to sync then; nothing ends the work.
    fn take(&self) -> Option<(bool, Vec<ImageId>)> {
        let mut queue = self.lock();
        let work = (std::mem::take(&mut queue.index), std::mem::take(&mut queue.images));
        if !work.0 && work.1.is_empty() {
            queue.working = false;
            self.idle.notify_all();
            return None;
        }
        Some(work)
    }
}

impl ImageStore {
    /// Brings the layout's index up to date at once.
    pub fn write_index(&self) {
        layout::update(&self.inner.files, &self.inner.read_state());
    }
}

impl Inner {
    /// Syncs images behind the caller's back. Where that fails they stay marked, and the next start tries again.
    pub(crate) fn sync_later(self: &Arc<Self>, images: impl IntoIterator<Item = ImageId>) {
        let mut queue = self.pending.lock();
        queue.images.extend(images);
        self.work_later(queue);
    }

    /// Brings the layout's index up to date behind the caller's back.
    pub(crate) fn index_later(self: &Arc<Self>) {
        let mut queue = self.pending.lock();
        queue.index = true;
        self.work_later(queue);
    }

    fn work_later(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue>) {
        if queue.working || (!queue.index && queue.images.is_empty()) {
            return;
        }
        let (store, pending, file) = (Arc::downgrade(self), self.pending.clone(), self.files.any());
        let spawned = thread::Builder::new().name("image-sync".into()).spawn(move || work(&store, &pending, &file));
        match spawned {
            Ok(_) => queue.working = true,
            Err(e) => tracing::warn!("cannot start a thread to sync images and their index: {e}"),
        }
    }

    /// Syncs what an earlier process of this boot did not.
    pub(crate) fn sync_unsynced(self: &Arc<Self>) {
        // Without the boot's name nothing can be known to be of it; the next start finds it out.
        let boot = recover::boot().ok();
        let state = self.read_state();
        // What an earlier boot wrote and this start could not check stays in doubt.
        let is_of_this = |written: &Option<String>| written.is_some() && *written == boot;
        let unsynced = |id: &&ImageId| state.get(id).is_some_and(|known| is_of_this(&known.record.unsynced));
        let images: Vec<ImageId> = state.images().map(|image| &image.id).filter(unsynced).cloned().collect();
        drop(state);
        self.sync_later(images);
    }
}

/// Takes whatever is queued, so that many images share one pass over the disk.
fn work(store: &Weak<Inner>, pending: &Pending, file: &std::io::Result<File>) {
    while let Some((index, images)) = pending.take() {
        if index && let Some(store) = store.upgrade() {
            layout::update(&store.files, &store.read_state());
        }
        if images.is_empty() {
            continue;
        }
        let synced = match file {
            Ok(file) => rustix::fs::syncfs(file).map_err(|e| Error::from(std::io::Error::from(e))),
            Err(e) => Err(Error::internal(e.to_string())),
        };
        if let Err(e) = synced.and_then(|()| mark_synced(store, pending, images.clone())) {
            tracing::warn!("{} images are not known to be on disk: {e}", images.len());
        }
    }
}

/// The store is only borrowed for this: whoever waited for the queue may want to open the database again.
fn mark_synced(store: &Weak<Inner>, pending: &Pending, mut images: Vec<ImageId>) -> Result<()> {
    let Some(store) = store.upgrade() else { return Ok(()) };
    let _changing = store.change();
    // One that was replaced meanwhile has files that are younger than what was synced.
    {
        let queue = pending.lock();
        images.retain(|id| !queue.images.contains(id));
    }
    let mut batch = Batch::new();
    for id in &images {
        if let Some(mut record) = store.read_state().get(id).map(|known| known.record.clone()) {
            record.unsynced = None;
            batch = batch.put(IMAGES, id.as_str(), &record).map_err(Error::from)?;
        }
    }
    store.db.commit(batch).map_err(Error::from)?;
    let mut state = store.write_state();
    for id in &images {
        if let Some(record) = state.record_mut(id) {
            record.unsynced = None;
        }
    }
    Ok(())
}
