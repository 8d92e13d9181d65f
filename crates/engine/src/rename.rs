//! `POST /containers/{id}/rename`.

use crate::Engine;
use gantry_model::names::{RESTRICTED_NAME_CHARS, is_restricted_name};
use gantry_model::{ContainerStatus, Error, Result};

impl Engine {
    /// Gives a container another name.
    pub async fn container_rename(&self, name: &str, new_name: &str) -> Result<()> {
        let container = self.find(name)?;
        let new = new_name.strip_prefix('/').unwrap_or(new_name).to_owned();
        if new.is_empty() {
            return Err(Error::invalid("Neither old nor new names may be empty"));
        }
        if !is_restricted_name(&new) {
            return Err(Error::invalid(format!(
                "Invalid container name ({new_name}), only {RESTRICTED_NAME_CHARS} are allowed"
            )));
        }
        self.detached(move |engine| async move {
            let _verb = container.verbs.lock().await;
            let old = container.read().name.clone();
            if old == new {
                return Err(Error::invalid("Renaming a container with the same name as its current name"));
            }
            if matches!(container.read().state.status, ContainerStatus::Removing | ContainerStatus::Dead) {
                return Err(Error::conflict("container is marked for removal and cannot be renamed"));
            }
            engine.containers.reserve_name(&new, container.id)?;
            container.write().name.clone_from(&new);
            if let Err(e) = engine.store(&container).await {
                container.write().name.clone_from(&old);
                engine.containers.release_name(&new, container.id);
                return Err(e);
            }
            engine.containers.release_name(&old, container.id);
            if container.read().state.status.is_live()
                && let Err(e) = engine.names_have_changed(&container).await
            {
                tracing::warn!("container {}: its name server: {e}", container.id);
            }
            engine.container_event(&container, "rename", &[("oldName", &format!("/{old}"))]);
            Ok(())
        })
        .await
    }
}
