//! The drivers of volumes: the local one, and plugins.

use crate::Engine;
use futures_util::future::join_all;
use gantry_model::{Error, Result, Timestamp};
use gantry_plugins::{Kind, Patience, PluginVolume, VolumeDriver};
use gantry_volumes::{Claimed, Volume as Stored};
use std::collections::BTreeMap;

/// What the plugins have: volumes by name, each with its driver and scope.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    pub(super) volumes: BTreeMap<String, Foreign>,
    /// Drivers that answered.
    pub(super) answered: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// A plugin's volume.
#[derive(Debug, Clone)]
pub(super) struct Foreign {
    pub(super) driver: String,
    pub(super) scope: String,
    pub(super) volume: PluginVolume,
}

impl Engine {
    /// The plugin called `name`, if it makes volumes.
    pub(super) async fn volume_driver(&self, name: &str, patience: Patience) -> Result<VolumeDriver> {
        let found = self.plugins.get(name, Kind::Volume, patience).await;
        found.map(VolumeDriver).map_err(|e| Error::from(e).context(format!("error looking up volume plugin {name}")))
    }

    /// The volume as its driver knows it; `None` when that says it has none.
    pub(super) async fn look_up(&self, stored: &Stored, patience: Patience) -> Result<Option<Foreign>> {
        let context =
            || format!("error while checking if volume {:?} exists in driver {:?}", stored.name, stored.driver);
        let driver = self.volume_driver(&stored.driver, patience).await.map_err(|e| e.context(context()))?;
        let found = driver.get(&stored.name, patience).await.map_err(|e| Error::from(e).context(context()))?;
        let Some(volume) = found else { return Ok(None) };
        Ok(Some(Foreign { driver: stored.driver.clone(), scope: driver.scope(patience).await, volume }))
    }

    /// Asks every plugin for a volume that nobody here has heard of; one that is found is known from then on.
    pub(super) async fn adopt_volume(&self, name: &str) -> Result<Option<(Stored, Foreign)>> {
        let drivers = self.plugins.all(Kind::Volume).await;
        let asked = drivers.into_iter().map(|(driver, plugin)| async move {
            let plugin = VolumeDriver(plugin);
            let volume = plugin.get(name, Patience::Brief).await.ok().flatten()?;
            Some(Foreign { driver, scope: plugin.scope(Patience::Brief).await, volume })
        });
        let Some(foreign) = join_all(asked).await.into_iter().flatten().next() else { return Ok(None) };
        let stored = self.know_volume(Stored {
            name: name.to_owned(),
            driver: foreign.driver.clone(),
            created: Timestamp::now(),
            labels: None,
            options: None,
            anonymous: false,
        });
        let stored = stored.await?;
        Ok((stored.driver == foreign.driver).then_some((stored, foreign)))
    }

    /// Keeps the row of a plugin's volume, unless somebody was quicker.
    async fn know_volume(&self, volume: Stored) -> Result<Stored> {
        let volumes = self.volumes.clone();
        crate::blocking(move || match volumes.claim(&volume.name) {
            Claimed::Existing(existing) => Ok(existing),
            Claimed::New(claim) => claim.establish(volume),
        })
        .await
    }

    /// Everything that the plugins list; with `only`, those of these names.
    pub(super) async fn volumes_elsewhere(&self, only: &[&str]) -> Elsewhere {
        let drivers = self.plugins.all(Kind::Volume).await;
        let asked = drivers.into_iter().filter(|(name, _)| only.is_empty() || only.contains(&name.as_str())).map(
            |(name, plugin)| async move {
                let driver = VolumeDriver(plugin);
                let listed = driver.list(Patience::Brief).await;
                let scope = if listed.is_ok() { driver.scope(Patience::Brief).await } else { String::new() };
                (name, scope, listed)
            },
        );
        let mut all = Elsewhere::default();
        for (driver, scope, listed) in join_all(asked).await {
            match listed {
                Err(e) => all.warnings.push(format!("list {driver}: {e}")),
                Ok(listed) => {
                    for volume in listed {
                        let foreign = Foreign { driver: driver.clone(), scope: scope.clone(), volume };
                        all.volumes.entry(foreign.volume.name.clone()).or_insert(foreign);
                    }
                    all.answered.push(driver);
                }
            }
        }
        all
    }
}
