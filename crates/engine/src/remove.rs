//! `DELETE /containers/{id}`.
//!
//! Order: the process, the record (durable), then the files. A crash in between leaves files
//! without a record, which the next start sweeps.

use crate::Engine;
use crate::container::Container;
use gantry_model::{ContainerStatus, Error, ErrorKind, Result};
use gantry_state_db::Batch;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};

/// Query parameters of remove.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveOptions {
    /// Kill it first if it runs.
    pub force: bool,
    /// Remove its anonymous volumes as well.
    pub volumes: bool,
    /// Remove a link, not the container.
    pub link: bool,
}

impl Engine {
    /// Removes a container.
    pub async fn container_remove(&self, name: &str, options: RemoveOptions) -> Result<()> {
        if options.link {
            return self.remove_link(name).await;
        }
        let container = self.find(name)?;
        self.detached(move |engine| async move { engine.remove(&container, options).await }).await
    }

    /// Removes a container whose `AutoRemove` says so, in the background.
    pub(crate) fn auto_remove(self: &Arc<Self>, container: &Arc<Container>) {
        if !container.read().host_config.auto_remove {
            return;
        }
        let (engine, container) = (self.clone(), container.clone());
        tokio::spawn(async move {
            // Not forced: who has started it again in the meantime wants it, and it will end again.
            let options = RemoveOptions { force: false, volumes: true, link: false };
            // Even if a client is removing it: he may have looked just before its end, and fail.
            let first = !container.removing.swap(true, AcqRel);
            let _verb = container.verbs.lock().await;
            match engine.remove_locked(&container, options).await {
                Err(e) if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {
                    tracing::warn!("container {}: removing it after its end: {e}", container.id);
                }
                _ => {}
            }
            if first {
                container.removing.store(false, Release);
            }
        });
    }

    async fn remove(self: &Arc<Self>, container: &Arc<Container>, options: RemoveOptions) -> Result<()> {
        mark_removing(container)?;
        if options.force {
            container.keep.store(true, Relaxed);
        }
        // Somebody may hold the lock who stops it with patience; that is over now.
        if options.force
            && container.read().state.status.is_live()
            && let Err(e) = self.end_for_removal(container, true).await
        {
            tracing::debug!("container {}: {e}", container.id);
        }
        // Or starts it with a runtime that takes its time.
        if options.force && !container.read().state.status.is_live() && container.verbs.try_lock().is_err() {
            crate::oci::interrupt_start(self, container);
        }
        let _verb = container.verbs.lock().await;
        let done = self.remove_locked(container, options).await;
        if done.is_err() {
            container.keep.store(false, Relaxed);
        }
        container.removing.store(false, Release);
        done
    }

    async fn remove_locked(self: &Arc<Self>, container: &Arc<Container>, options: RemoveOptions) -> Result<()> {
        if self.containers.get(&container.id).is_none() {
            return Err(Error::not_found(format!("No such container: {}", container.id)));
        }
        self.end_for_removal(container, options.force).await?;
        container.settled().await;
        container.cancel_restart();
        let previous = std::mem::replace(&mut container.write().state.status, ContainerStatus::Removing);
        let volumes = if options.volumes { self.stage_anonymous_volumes(container) } else { Vec::new() };
        let volume_rows = volumes.iter().fold(Batch::new(), |batch, volume| batch.and(volume.batch()));
        if let Err(e) = self.forget(container, volume_rows).await {
            container.write().state.status = previous;
            return Err(e);
        }
        container.take_waiting_clients();
        self.containers.remove(container.id);
        self.execs.forget_container(container.id);
        if let Err(e) = self.images.release_layers(container.id) {
            tracing::warn!("container {}: releasing its image: {e}", container.id);
        }
        self.release_mounted_images(container);
        self.discard_files(container);
        self.finish_volumes(volumes).await;
        self.container_event(container, "destroy", &[]);
        container.progress.send_modify(|p| {
            p.live = false;
            p.removed = true;
        });
        Ok(())
    }

    async fn end_for_removal(&self, container: &Container, force: bool) -> Result<()> {
        let status = container.read().state.status;
        if !status.is_live() && (status != ContainerStatus::Restarting || force) {
            return Ok(());
        }
        if force {
            container.write().state.manually_stopped = true;
            return self.kill_and_wait(container).await;
        }
        let id = container.id;
        Err(Error::conflict(match status {
            ContainerStatus::Paused => format!(
                "You cannot remove a paused container {id}. Unpause and then stop the container before attempting removal or force remove"
            ),
            ContainerStatus::Restarting => format!(
                "You cannot remove a restarting container {id}. Stop the container before attempting removal or force remove"
            ),
            _ => format!(
                "You cannot remove a running container {id}. Stop the container before attempting removal or force remove"
            ),
        }))
    }

    /// Moves the container's files out of sight at once and deletes them behind the client's back;
    /// the next start empties the trash if this daemon does not get to it.
    fn discard_files(&self, container: &Container) {
        let dirs = self.dirs(&container.id);
        let trash = self.config.data_root.join("trash").join(container.id.to_string());
        if let Err(e) = std::fs::rename(dirs.data(), &trash) {
            tracing::warn!("{}: {e}", dirs.data().display());
        }
        let exec = dirs.exec().to_owned();
        self.handle.spawn_blocking(move || {
            for dir in [trash, exec] {
                match std::fs::remove_dir_all(&dir) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => tracing::warn!("{}: {e}", dir.display()),
                    _ => {}
                }
            }
        });
    }
}

/// One removal at a time; the second gets Docker's conflict.
fn mark_removing(container: &Container) -> Result<()> {
    if container.removing.swap(true, AcqRel) {
        return Err(Error::conflict(format!("removal of container {} is already in progress", container.id)));
    }
    Ok(())
}
