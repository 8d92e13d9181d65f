//! `GET /volumes` and `GET /volumes/{name}`.

use super::drivers::Foreign;
use crate::Engine;
use crate::filters::Filters;
use gantry_api_types::{Volume, VolumeListResponse};
use gantry_model::{Error, Result, Timestamp};
use gantry_plugins::Patience;
use gantry_volumes::{VOLUME_DRIVER, Volume as Stored, VolumeError};
use std::collections::{BTreeMap, HashSet};

/// How Go shows a time that nobody has set.
const NEVER: &str = "0001-01-01T00:00:00Z";

impl Engine {
    /// Every volume that the filters let through. Plugins that do not answer are named in `Warnings`; what is known of
    /// their volumes is shown.
    pub async fn volume_list(&self, filters: &Filters) -> Result<VolumeListResponse> {
        filters.accept_only(&["dangling", "driver", "label", "name"])?;
        let dangling = filters.boolean("dangling")?;
        let used = if dangling.is_some() { self.used_volumes() } else { HashSet::new() };
        let drivers: Vec<&str> = filters.get("driver").collect();
        let mut elsewhere = self.volumes_elsewhere(&drivers).await;
        let mut all = Vec::new();
        let mut silent = HashSet::new();
        for stored in self.volumes.list() {
            let foreign = elsewhere.volumes.remove(&stored.name).filter(|found| found.driver == stored.driver);
            // The driver says what there is.
            if !stored.is_local() && foreign.is_none() && elsewhere.answered.contains(&stored.driver) {
                continue;
            }
            if !stored.is_local() && foreign.is_none() {
                silent.insert(stored.driver.clone());
            }
            all.push(self.show_volume(&stored, foreign.as_ref()));
        }
        all.extend(elsewhere.volumes.values().map(show_foreign));
        let empty = BTreeMap::new();
        all.retain(|volume| {
            dangling.is_none_or(|dangling| dangling != used.contains(&volume.name))
                && (!filters.has("name") || filters.get("name").any(|part| volume.name.contains(part)))
                && (drivers.is_empty() || drivers.contains(&volume.driver.as_str()))
                && filters.match_labels("label", volume.labels.as_ref().unwrap_or(&empty))
        });
        let mut warnings = elsewhere.warnings;
        silent.retain(|driver| drivers.is_empty() || drivers.contains(&driver.as_str()));
        silent.retain(|driver| !warnings.iter().any(|warning| warning.starts_with(&format!("list {driver}:"))));
        warnings.extend(silent.iter().map(|driver| format!("list {driver}: plugin {driver:?} not found")));
        Ok(VolumeListResponse { volumes: all, warnings: (!warnings.is_empty()).then_some(warnings) })
    }

    /// One volume.
    pub async fn volume_inspect(&self, name: &str) -> Result<Volume> {
        let (stored, foreign) = self.find_volume(name).await?;
        Ok(self.show_volume(&stored, foreign.as_ref()))
    }

    /// The volume `name`, with what its driver says of it if that is a plugin. One that its plugin does not know any
    /// more is forgotten, one that only a plugin knows is found.
    pub(super) async fn find_volume(&self, name: &str) -> Result<(Stored, Option<Foreign>)> {
        let Ok(stored) = self.volumes.get(name) else {
            let adopted = self.adopt_volume(name).await?;
            let (stored, foreign) = adopted.ok_or_else(|| VolumeError::NotFound(name.to_owned()))?;
            return Ok((stored, Some(foreign)));
        };
        if stored.is_local() {
            return Ok((stored, None));
        }
        let found = self.look_up(&stored, Patience::Brief).await.map_err(|e| e.context(format!("get {name}")))?;
        if let Some(foreign) = found {
            return Ok((stored, Some(foreign)));
        }
        if self.volume_users(name).is_empty() {
            self.forget_volume(name).await?;
        }
        Err(Error::from(VolumeError::NotFound(name.to_owned())))
    }

    /// A volume as clients see it.
    pub(super) fn show_volume(&self, volume: &Stored, foreign: Option<&Foreign>) -> Volume {
        if volume.is_local() {
            return Volume {
                created_at: whole_seconds(volume.created),
                driver: VOLUME_DRIVER.to_owned(),
                labels: volume.labels.clone(),
                mountpoint: self.volumes.mountpoint(&volume.name).display().to_string(),
                name: volume.name.clone(),
                options: volume.options.clone(),
                scope: "local".to_owned(),
                status: None,
                usage_data: None,
            };
        }
        let shown = foreign.map_or_else(
            || Volume {
                driver: volume.driver.clone(),
                name: volume.name.clone(),
                created_at: NEVER.to_owned(),
                scope: "local".to_owned(),
                ..Volume::default()
            },
            show_foreign,
        );
        Volume { labels: volume.labels.clone(), options: volume.options.clone(), ..shown }
    }
}

fn show_foreign(foreign: &Foreign) -> Volume {
    let volume = &foreign.volume;
    Volume {
        // As the plugin wrote it, if it is a time at all.
        created_at: Timestamp::parse(&volume.created_at).map_or_else(|| NEVER.to_owned(), whole_seconds),
        driver: foreign.driver.clone(),
        mountpoint: volume.mountpoint.clone(),
        name: volume.name.clone(),
        scope: foreign.scope.clone(),
        status: volume.status.clone().filter(|status| !status.is_empty()),
        ..Volume::default()
    }
}

fn whole_seconds(time: Timestamp) -> String {
    if time.is_zero() {
        return NEVER.to_owned();
    }
    Timestamp::from_unix_nanos(i128::from(time.unix_seconds()) * 1_000_000_000).to_string()
}
