//! Image data reaches the disk behind the client's back.
//!
//! An import answers when its record is durable and its files are complete in the page cache: that survives every
//! death of the daemon. Writing hundreds of megabytes out takes seconds, which the client need not wait for. Until a
//! `syncfs` has returned, the record carries the boot in which the files were written; after a power failure the boot
//! is another, and [`crate::recover`] checks the files before it believes in them.

use crate::{ImageId, records::IMAGES, store::Inner};
use gantry_model::{Error, Result};
use gantry_state_db::Batch;
use std::{
    fs::File,
    sync::{Arc, Condvar, Mutex, PoisonError, Weak},
    thread,
};

/// How many images are on their way to the disk.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    count: Mutex<usize>,
    none: Condvar,
}

impl Pending {
    fn add(&self, change: isize) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count = count.saturating_add_signed(change);
        if *count == 0 {
            self.none.notify_all();
        }
    }

    pub(crate) fn wait(&self) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        while *count > 0 {
            count = self.none.wait(count).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Inner {
    /// Syncs an image on a thread of its own. Without one the image stays marked, and the next start tries again.
    pub(crate) fn sync_later(self: &Arc<Self>, id: ImageId) {
        self.pending.add(1);
        let (store, pending) = (Arc::downgrade(self), self.pending.clone());
        let file = self.files.any();
        let spawned = thread::Builder::new().name("image-sync".into()).spawn(move || {
            let synced = file.and_then(|file| sync(&file));
            let done = synced.map_err(Error::from).and_then(|()| mark_synced(&store, &id));
            if let Err(e) = done {
                tracing::warn!("image {id} is not known to be on disk: {e}");
            }
            // Whoever waits may want to open the database again, so nothing of it is held here any more.
            pending.add(-1);
        });
        if let Err(e) = spawned {
            tracing::warn!("cannot start a thread to sync an image: {e}");
            self.pending.add(-1);
        }
    }

    /// Syncs what an earlier process of this boot did not.
    pub(crate) fn sync_unsynced(self: &Arc<Self>) {
        let state = self.read_state();
        let unsynced = |id: &&ImageId| state.get(id).is_some_and(|known| known.record.unsynced.is_some());
        let ids: Vec<ImageId> = state.images().map(|image| &image.id).filter(unsynced).cloned().collect();
        drop(state);
        ids.into_iter().for_each(|id| self.sync_later(id));
    }
}

fn sync(file: &File) -> std::io::Result<()> {
    Ok(rustix::fs::syncfs(file)?)
}

fn mark_synced(store: &Weak<Inner>, id: &ImageId) -> Result<()> {
    let Some(store) = store.upgrade() else { return Ok(()) };
    let _changing = store.change();
    let Some(mut record) = store.read_state().get(id).map(|known| known.record.clone()) else { return Ok(()) };
    record.unsynced = None;
    store.db.commit(Batch::new().put(IMAGES, id.as_str(), &record).map_err(Error::from)?).map_err(Error::from)?;
    if let Some(known) = store.write_state().record_mut(id) {
        known.unsynced = None;
    }
    Ok(())
}
