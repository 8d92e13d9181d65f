//! The daemon's end and its reload.

use crate::Engine;
use crate::config::Reloadable;
use crate::engine::CONTAINERS;
use gantry_state_db::Batch;
use std::sync::PoisonError;

impl Engine {
    /// Flushes what was to be written lazily. Containers keep running; their shims need nobody.
    pub async fn shutdown(&self) {
        // Batches are written in order: when the last one is durable, all are. It changes nothing, but must
        // not be empty, for an empty one is done at once.
        if let Err(e) = self.commit(Batch::new().delete(CONTAINERS, "")).await {
            tracing::error!("the last changes could not be written: {e}");
        }
    }

    /// Takes over what SIGHUP may change.
    pub fn reload(&self, labels: Vec<String>, debug: bool) {
        *self.reloadable.write().unwrap_or_else(PoisonError::into_inner) = Reloadable { labels, debug };
        self.daemon_event("reload");
    }

    /// What SIGHUP may change, as it is now.
    pub(crate) fn reloadable(&self) -> Reloadable {
        self.reloadable.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
