//! The daemon's end.

use crate::Engine;
use crate::engine::CONTAINERS;
use gantry_state_db::Batch;

impl Engine {
    /// Flushes what was to be written lazily. Containers keep running; their shims need nobody.
    pub async fn shutdown(&self) {
        // Batches are written in order: when the last one is durable, all are. It changes nothing, but must
        // not be empty, for an empty one is done at once.
        if let Err(e) = self.commit(Batch::new().delete(CONTAINERS, "")).await {
            tracing::error!("the last changes could not be written: {e}");
        }
        // Other programs may read the images as soon as the daemon is gone.
        let images = self.images.clone();
        if let Err(e) = tokio::task::spawn_blocking(move || images.write_index()).await {
            tracing::warn!("the images' index is not written: {e}");
        }
    }
}
