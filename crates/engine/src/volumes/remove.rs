//! `DELETE /volumes/{name}`, and the volumes that go with a container.

use crate::Engine;
use crate::container::Container;
use gantry_model::{Error, ErrorKind, Result};
use gantry_plugins::Patience;
use gantry_volumes::{Leaving, VolumeError};
use std::sync::Arc;

impl Engine {
    /// Removes a volume; with `force` one that is not there is no error, and one whose plugin fails is forgotten.
    pub async fn volume_remove(&self, name: &str, force: bool) -> Result<()> {
        let name = name.to_owned();
        self.detached(move |engine| async move {
            match engine.remove_volume(&name, force).await {
                Err(e) if force && e.kind() == ErrorKind::NotFound => Ok(()),
                other => other,
            }
        })
        .await
    }

    pub(super) async fn remove_volume(self: &Arc<Self>, name: &str, force: bool) -> Result<()> {
        if self.volumes.get(name).is_err() {
            // Perhaps a plugin's.
            self.find_volume(name).await?;
        }
        let leaving = self.stage_volume_removal(name).await?;
        let driver = leaving.volume().driver.clone();
        if !leaving.volume().is_local() {
            let removed = async {
                let plugin = self.volume_driver(&driver, Patience::Long).await?;
                plugin.remove(name).await.map_err(Error::from)
            };
            match removed.await {
                Err(e) if force => tracing::warn!("volume {name} is forgotten although its driver failed: {e}"),
                removed => removed.map_err(|e| e.context(format!("remove {name}")))?,
            }
        }
        self.commit(leaving.batch()).await?;
        crate::blocking(move || Ok::<_, VolumeError>(leaving.finish())).await?;
        self.volume_event(name, &driver, "destroy");
        Ok(())
    }

    /// Drops the row of a volume that its plugin does not have any more.
    pub(super) async fn forget_volume(&self, name: &str) -> Result<()> {
        let leaving = self.stage_volume_removal(name).await?;
        self.commit(leaving.batch()).await?;
        leaving.finish();
        Ok(())
    }

    async fn stage_volume_removal(&self, name: &str) -> Result<Leaving> {
        let (engine, owned) = (self.arc(), name.to_owned());
        crate::blocking(move || engine.volumes.stage_removal(&owned, || engine.volume_users(&owned))).await
    }

    /// The anonymous volumes that go with a container: those that no other one uses. Their rows
    /// leave in the commit that removes the container, so that no crash parts them.
    pub(crate) fn stage_anonymous_volumes(&self, container: &Container) -> Vec<Leaving> {
        let id = container.id.to_string();
        let mounts = container.read().mounts.clone();
        let anonymous = mounts
            .iter()
            .filter(|m| m.r#type == "volume" && self.volumes.get(&m.name).is_ok_and(|volume| volume.anonymous));
        let others = |name: &str| self.volume_users(name).into_iter().filter(|user| *user != id).collect();
        let staged =
            anonymous.filter_map(|mount| match self.volumes.stage_removal(&mount.name, || others(&mount.name)) {
                Ok(leaving) => Some(leaving),
                Err(VolumeError::InUse { .. } | VolumeError::NotFound(_)) => None,
                Err(e) => {
                    tracing::warn!("{e}");
                    None
                }
            });
        staged.collect()
    }

    /// Deletes the data of volumes whose rows are gone.
    pub(crate) async fn finish_volumes(&self, leaving: Vec<Leaving>) {
        for leaving in leaving {
            let (name, driver) = (leaving.name().to_owned(), leaving.volume().driver.clone());
            if !leaving.volume().is_local() {
                let removed = async {
                    let plugin = self.volume_driver(&driver, Patience::Brief).await?;
                    plugin.remove(&name).await.map_err(Error::from)
                };
                if let Err(e) = removed.await {
                    tracing::warn!("volume {name}: {e}");
                }
            }
            if let Err(e) = tokio::task::spawn_blocking(move || leaving.finish()).await {
                tracing::error!("volume {name}: {e}");
            }
            self.volume_event(&name, &driver, "destroy");
        }
    }
}
