//! Files that a running operation needs, so that no removal takes them away under it.

use crate::{files::Temporary, store::Inner};
use gantry_model::{Digest, Result};
use std::sync::Arc;

/// Counts uses of blobs and layers while it lives. What nobody needs after it is removed from disk: an operation that
/// fails leaves nothing behind.
pub(crate) struct Lease {
    store: Arc<Inner>,
    blobs: Vec<Digest>,
    layers: Vec<Digest>,
}

impl Lease {
    pub(crate) fn new(store: &Arc<Inner>) -> Self {
        Self { store: store.clone(), blobs: Vec::new(), layers: Vec::new() }
    }

    /// Puts a finished blob into the store, unless it is there.
    pub(crate) fn add_blob(&mut self, temporary: Temporary, digest: &Digest) -> Result<()> {
        let mut state = self.store.write_state();
        if !state.uses.blobs().contains(digest) {
            temporary.publish(&self.store.files.blob(digest))?;
        }
        state.uses.blobs().add(digest);
        self.blobs.push(digest.clone());
        Ok(())
    }

    /// Uses a blob that is in the store; false when it is not.
    pub(crate) fn use_blob(&mut self, digest: &Digest) -> bool {
        let mut state = self.store.write_state();
        let there = state.uses.blobs().contains(digest);
        if there {
            state.uses.blobs().add(digest);
            self.blobs.push(digest.clone());
        }
        there
    }

    /// Puts an extracted layer into the store, unless it is there.
    pub(crate) fn add_layer(&mut self, temporary: Temporary, chain_id: &Digest) -> Result<()> {
        let mut state = self.store.write_state();
        if !state.uses.layers().contains(chain_id) {
            temporary.publish(&self.store.files.layer(chain_id))?;
        }
        state.uses.layers().add(chain_id);
        self.layers.push(chain_id.clone());
        Ok(())
    }

    /// Uses a layer that is in the store; false when it is not.
    pub(crate) fn use_layer(&mut self, chain_id: &Digest) -> bool {
        let mut state = self.store.write_state();
        let there = state.uses.layers().contains(chain_id);
        if there {
            state.uses.layers().add(chain_id);
            self.layers.push(chain_id.clone());
        }
        there
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.store.release(&self.blobs, self.layers.iter());
    }
}
