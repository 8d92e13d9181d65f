//! `POST /containers/prune`.

use crate::filters::Filters;
use crate::remove::RemoveOptions;
use crate::{Engine, until};
use gantry_api_types::ContainerPruneResponse;
use gantry_model::{ContainerStatus, ErrorKind, Result};

impl Engine {
    /// Removes every container that does not run.
    pub async fn container_prune(&self, filters: Filters) -> Result<ContainerPruneResponse> {
        filters.accept_only(&["label", "label!", "until"])?;
        let until = until::parse(&filters)?;
        self.detached(move |engine| async move {
            let mut removed = Vec::new();
            let mut space_reclaimed = 0;
            for container in engine.containers.all() {
                let record = container.read().clone();
                let labels = record.config.labels.clone().unwrap_or_default();
                let stopped = matches!(
                    record.state.status,
                    ContainerStatus::Created | ContainerStatus::Exited | ContainerStatus::Dead
                );
                let wanted = stopped
                    && until.is_none_or(|until| record.created < until)
                    && filters.match_labels("label", &labels)
                    && !(filters.has("label!") && filters.match_labels("label!", &labels));
                if !wanted {
                    continue;
                }
                let (size, _) = engine.container_sizes(&record).await.unwrap_or_default();
                let id = record.id.to_string();
                match engine.container_remove(&id, RemoveOptions::default()).await {
                    Ok(()) => {
                        space_reclaimed += u64::try_from(size).unwrap_or(0);
                        removed.push(id);
                    }
                    // Somebody has started it, or was quicker.
                    Err(e) if matches!(e.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {}
                    Err(e) => tracing::warn!("container {id}: {e}"),
                }
            }
            engine.prune_event("container", space_reclaimed);
            Ok(ContainerPruneResponse { containers_deleted: Some(removed).filter(|r| !r.is_empty()), space_reclaimed })
        })
        .await
    }
}
