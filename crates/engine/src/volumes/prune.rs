//! `POST /volumes/prune`.

use crate::Engine;
use crate::filters::Filters;
use gantry_api_types::VolumePruneResponse;
use gantry_model::{Error, ErrorKind, Result};
use gantry_volumes::Volume as Stored;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends a prune, however it ends.
struct Running(Arc<Engine>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.volume_runs.pruning.store(false, Ordering::Release);
    }
}

/// True for the first who asks.
fn begin(pruning: &AtomicBool) -> bool {
    !pruning.swap(true, Ordering::AcqRel)
}

impl Engine {
    /// Removes the volumes that no container uses: anonymous ones, with the filter `all` every one. As in Docker, only
    /// those of the local driver, and none that is mounted from elsewhere: no space would be reclaimed.
    pub async fn volume_prune(&self, filters: Filters) -> Result<VolumePruneResponse> {
        filters.accept_only(&["all", "label", "label!"])?;
        let all = filters.boolean("all")?.unwrap_or(false);
        self.detached(move |engine| async move {
            if !begin(&engine.volume_runs.pruning) {
                return Err(Error::conflict("a prune operation is already running"));
            }
            let _running = Running(engine.clone());
            let mut report = VolumePruneResponse::default();
            for volume in engine.volumes.list() {
                let wanted = (all || volume.anonymous)
                    && is_plain(&volume)
                    && filters.select_labels(volume.labels.as_ref().unwrap_or(&std::collections::BTreeMap::new()));
                if !wanted || !engine.volume_users(&volume.name).is_empty() {
                    continue;
                }
                let size = engine.volume_size(&volume).await;
                match engine.remove_volume(&volume.name, false).await {
                    Ok(()) => {
                        report.space_reclaimed += u64::try_from(size).unwrap_or(0);
                        report.volumes_deleted.push(volume.name);
                    }
                    // Somebody has begun to use it, or was quicker.
                    Err(e) if matches!(e.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {}
                    Err(e) => tracing::warn!("volume {}: {e}", volume.name),
                }
            }
            engine.prune_event("volume", report.space_reclaimed);
            Ok(report)
        })
        .await
    }
}

/// A directory of this daemon's, of which the size means something.
pub(super) fn is_plain(volume: &Stored) -> bool {
    volume.is_local() && volume.options.as_ref().is_none_or(std::collections::BTreeMap::is_empty)
}
