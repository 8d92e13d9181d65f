//! Files that a running operation needs, so that no removal takes them away under it.

use crate::{ImageId, files::Temporary, records::ImageRecord, store::Inner};
use gantry_model::{Digest, Error, Result, error::Context};
use std::{fs, path::Path, sync::Arc};

/// Counts uses of blobs and layers while it lives. What nobody needs after it is removed from disk: an operation that
/// fails leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Lease {
    store: Arc<Inner>,
    blobs: Vec<Digest>,
    layers: Vec<Digest>,
    /// Blobs came from far away and are set aside rather than removed, unless the disk was full meanwhile: how often
    /// it had been full before.
    arriving: Option<u64>,
}

impl Lease {
    pub(crate) fn new(store: &Arc<Inner>) -> Self {
        Self::with(store, None)
    }

    /// A lease whose blobs become partial ones again if no image takes them.
    pub(crate) fn arriving(store: &Arc<Inner>) -> Self {
        Self::with(store, Some(store.times_full()))
    }

    fn with(store: &Arc<Inner>, arriving: Option<u64>) -> Self {
        Self { store: store.clone(), blobs: Vec::new(), layers: Vec::new(), arriving }
    }

    /// Puts a finished blob into the store, unless it is there.
    pub(crate) fn add_blob(&mut self, mut temporary: Temporary, digest: &Digest) -> Result<()> {
        let size = temporary.file().metadata()?.len();
        self.add_blob_file(temporary.path(), digest, size)?;
        Ok(())
    }

    /// Moves a finished blob into the store, or removes it where the store has it.
    pub(crate) fn add_blob_file(&mut self, path: &Path, digest: &Digest, size: u64) -> Result<()> {
        let mut state = self.store.write_state();
        let used = state.uses.blobs().contains(digest);
        let sound = used && state.is_sound(digest) && self.store.files.blob_size(digest) == Some(size);
        if sound {
            drop(fs::remove_file(path));
        } else {
            let to = self.store.files.blob(digest);
            fs::rename(path, &to).map_err(Error::from).context(format_args!("cannot store {}", to.display()))?;
        }
        state.uses.blobs().add(digest);
        self.blobs.push(digest.clone());
        // A process that died may have left the mark of a blob that no image had any more.
        let marked = !state.is_sound(digest);
        drop(state);
        if marked {
            self.store.mended(digest);
        }
        Ok(())
    }

    /// Uses a blob that is in the store; false when it is not, or is known to be damaged.
    pub(crate) fn use_blob(&mut self, digest: &Digest) -> bool {
        self.use_blob_if(digest, |_| true)
    }

    /// The same, if it has this size.
    pub(crate) fn use_sized_blob(&mut self, digest: &Digest, size: u64) -> bool {
        self.use_blob_if(digest, |found| found == size)
    }

    fn use_blob_if(&mut self, digest: &Digest, fits: impl Fn(u64) -> bool) -> bool {
        let mut state = self.store.write_state();
        let there = state.uses.blobs().contains(digest)
            && state.is_sound(digest)
            && self.store.files.blob_size(digest).is_some_and(fits);
        if there {
            state.uses.blobs().add(digest);
            self.blobs.push(digest.clone());
        }
        there
    }

    /// Puts an extracted layer into the store, unless it is there.
    pub(crate) fn add_layer(&mut self, temporary: Temporary, diff_id: &Digest) -> Result<()> {
        let mut state = self.store.write_state();
        if !(state.uses.layers().contains(diff_id) && self.store.files.has_layer(diff_id)) {
            temporary.publish(&self.store.files.layer(diff_id))?;
        }
        state.uses.layers().add(diff_id);
        self.layers.push(diff_id.clone());
        Ok(())
    }

    /// Uses a layer that is in the store; false when it is not.
    pub(crate) fn use_layer(&mut self, diff_id: &Digest) -> bool {
        let mut state = self.store.write_state();
        let there = state.uses.layers().contains(diff_id) && self.store.files.has_layer(diff_id);
        if there {
            state.uses.layers().add(diff_id);
            self.layers.push(diff_id.clone());
        }
        there
    }

    /// Uses everything that these images need, as it is.
    pub(crate) fn pin(&mut self, records: &[(ImageId, ImageRecord)]) {
        let mut state = self.store.write_state();
        for (id, record) in records {
            for blob in record.blobs(id) {
                state.uses.blobs().add(blob);
                self.blobs.push(blob.clone());
            }
            for layer in &record.layers {
                state.uses.layers().add(&layer.diff_id);
                self.layers.push(layer.diff_id.clone());
            }
        }
    }

    /// Uses everything that an image needs; false when something of it is missing or damaged.
    pub(crate) fn use_record(&mut self, id: &ImageId, record: &ImageRecord) -> bool {
        let documents = [(id.digest(), record.document.len() as u64), (&record.manifest, record.manifest_size)];
        let blobs = documents.into_iter().chain(record.layers.iter().map(|layer| (&layer.blob, layer.blob_size)));
        blobs.into_iter().all(|(blob, size)| self.use_sized_blob(blob, size))
            && record.index.iter().all(|index| self.use_blob(&index.digest))
            && record.layers.iter().all(|layer| self.use_layer(&layer.diff_id))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let set_aside = self.arriving.is_some_and(|full| full == self.store.times_full());
        self.store.release(&self.blobs, self.layers.iter(), set_aside);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageStore;
    use gantry_state_db::Db;

    /// The process died after the last image with the blob had gone and before the mark had.
    #[test]
    fn an_old_mark_does_not_stick_to_new_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let store = ImageStore::open(dir.path(), Db::open(&dir.path().join("db")).unwrap()).unwrap();
        let digest = store.store_blob(b"some", &mut Lease::new(&store.inner)).unwrap();
        store.inner.mark_damaged(&digest, "it was");
        let mut lease = Lease::new(&store.inner);
        store.store_blob(b"some", &mut lease).unwrap();
        assert!(store.damaged().is_empty() && lease.use_blob(&digest));
    }
}
