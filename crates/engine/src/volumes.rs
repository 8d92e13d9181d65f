//! Volumes, as clients see them, and what containers have to do with them.

use crate::Engine;
use crate::container::Container;
use crate::filters::Filters;
use gantry_api_types::{UsageData, Volume, VolumeCreateRequest, VolumeListResponse, VolumePruneResponse};
use gantry_model::{ErrorKind, Result, Timestamp};
use gantry_volumes::{CreateRequest, Leaving, VOLUME_DRIVER, Volume as Stored, VolumeError};

impl Engine {
    /// Makes a volume, or finds it.
    pub async fn volume_create(&self, request: VolumeCreateRequest) -> Result<Volume> {
        let VolumeCreateRequest { driver, driver_opts, labels, name } = request;
        let request = CreateRequest { name, driver, options: driver_opts, labels };
        self.detached(move |engine| async move {
            let volumes = engine.volumes.clone();
            let (volume, new) = crate::blocking(move || volumes.create(request)).await?;
            if new {
                engine.volume_event(&volume.name, "create");
            }
            Ok(engine.show_volume(&volume))
        })
        .await
    }

    /// Every volume that the filters let through.
    #[expect(clippy::unused_async, reason = "the door's volume calls are alike")]
    pub async fn volume_list(&self, filters: &Filters) -> Result<VolumeListResponse> {
        filters.accept_only(&["dangling", "driver", "label", "name"])?;
        let dangling = filters.boolean("dangling")?;
        let used = if dangling.is_some() { self.used_volumes() } else { Vec::new() };
        let shown = self.volumes.list().into_iter().filter(|volume| {
            dangling.is_none_or(|dangling| dangling != used.contains(&volume.name))
                && (!filters.has("name") || filters.get("name").any(|part| volume.name.contains(part)))
                && (!filters.has("driver") || filters.get("driver").any(|driver| driver == VOLUME_DRIVER))
                && filters.match_labels("label", volume.labels.as_ref().unwrap_or(&std::collections::BTreeMap::new()))
        });
        Ok(VolumeListResponse { volumes: shown.map(|v| self.show_volume(&v)).collect(), warnings: None })
    }

    /// One volume.
    #[expect(clippy::unused_async, reason = "the door's volume calls are alike")]
    pub async fn volume_inspect(&self, name: &str) -> Result<Volume> {
        Ok(self.show_volume(&self.volumes.get(name)?))
    }

    /// Removes a volume; with `force` one that is not there is no error.
    pub async fn volume_remove(&self, name: &str, force: bool) -> Result<()> {
        let name = name.to_owned();
        self.detached(move |engine| async move {
            match engine.remove_volume(&name).await {
                Err(e) if force && e.kind() == ErrorKind::NotFound => Ok(()),
                other => other,
            }
        })
        .await
    }

    /// Removes the volumes that no container uses: anonymous ones, with the filter `all` every one.
    pub async fn volume_prune(&self, filters: Filters) -> Result<VolumePruneResponse> {
        filters.accept_only(&["all", "label", "label!"])?;
        let all = filters.boolean("all")?.unwrap_or(false);
        self.detached(move |engine| async move {
            let mut report = VolumePruneResponse::default();
            for volume in engine.volumes.list() {
                let labels = volume.labels.clone().unwrap_or_default();
                let wanted = (all || volume.anonymous)
                    && filters.match_labels("label", &labels)
                    && !(filters.has("label!") && filters.match_labels("label!", &labels));
                if !wanted || !engine.volume_users(&volume.name).is_empty() {
                    continue;
                }
                let size = engine.volume_size(&volume).await;
                match engine.remove_volume(&volume.name).await {
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

    async fn remove_volume(self: &std::sync::Arc<Self>, name: &str) -> Result<()> {
        let (engine, owned) = (self.clone(), name.to_owned());
        crate::blocking(move || engine.volumes.remove(&owned, || engine.volume_users(&owned))).await?;
        self.volume_event(name, "destroy");
        Ok(())
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
            let name = leaving.name().to_owned();
            if let Err(e) = tokio::task::spawn_blocking(move || leaving.finish()).await {
                tracing::error!("volume {name}: {e}");
            }
            self.volume_event(&name, "destroy");
        }
    }

    /// Ids of the containers that have the volume mounted, running or not.
    pub(crate) fn volume_users(&self, name: &str) -> Vec<String> {
        let uses =
            |c: &std::sync::Arc<Container>| c.read().mounts.iter().any(|m| m.r#type == "volume" && m.name == name);
        self.containers.all().iter().filter(|c| uses(c)).map(|c| c.id.to_string()).collect()
    }

    fn used_volumes(&self) -> Vec<String> {
        let containers = self.containers.all();
        let names = containers.iter().flat_map(|c| {
            let record = c.read();
            record.mounts.iter().filter(|m| m.r#type == "volume").map(|m| m.name.clone()).collect::<Vec<_>>()
        });
        names.collect()
    }

    /// With `UsageData`, for `GET /system/df`.
    pub(crate) async fn volumes_with_usage(&self) -> Vec<Volume> {
        let mut all = Vec::new();
        for volume in self.volumes.list() {
            let ref_count = i64::try_from(self.volume_users(&volume.name).len()).unwrap_or(i64::MAX);
            let size = self.volume_size(&volume).await;
            let usage_data = Some(UsageData { ref_count, size });
            all.push(Volume { usage_data, ..self.show_volume(&volume) });
        }
        all
    }

    /// Bytes; -1 when they cannot be told, as for what a driver option mounts.
    async fn volume_size(&self, volume: &Stored) -> i64 {
        if volume.driver_mount().is_some() {
            return -1;
        }
        let path = self.volumes.mountpoint(&volume.name);
        let size = tokio::task::spawn_blocking(move || gantry_volumes::tree_size(&path)).await;
        size.ok().and_then(std::io::Result::ok).and_then(|size| i64::try_from(size).ok()).unwrap_or(-1)
    }

    fn show_volume(&self, volume: &Stored) -> Volume {
        Volume {
            created_at: Timestamp::from_unix_nanos(i128::from(volume.created.unix_seconds()) * 1_000_000_000)
                .to_string(),
            driver: VOLUME_DRIVER.to_owned(),
            labels: volume.labels.clone(),
            mountpoint: self.volumes.mountpoint(&volume.name).display().to_string(),
            name: volume.name.clone(),
            options: volume.options.clone(),
            scope: "local".to_owned(),
            status: None,
            usage_data: None,
        }
    }
}
