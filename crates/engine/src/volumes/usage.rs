//! Volumes in `GET /system/df`.

use super::prune::is_plain;
use crate::Engine;
use crate::layer_sizes;
use gantry_api_types::{UsageData, Volume};
use gantry_volumes::Volume as Stored;
use std::collections::HashMap;
use std::sync::Arc;

impl Engine {
    /// Those of which the size means something, as in Docker: local ones without options.
    pub(crate) async fn volumes_with_usage(&self) -> Vec<Volume> {
        let mut counts: HashMap<String, i64> = HashMap::new();
        for container in self.containers.all() {
            let record = container.read();
            let mut names: Vec<&str> =
                record.mounts.iter().filter(|m| m.r#type == "volume").map(|m| m.name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                *counts.entry(name.to_owned()).or_default() += 1;
            }
        }
        let sizes = self.walks.volumes.run(|| self.walk_volumes()).await;
        let plain = self.volumes.list().into_iter().filter(is_plain);
        let shown = plain.map(|volume| {
            let ref_count = counts.get(&volume.name).copied().unwrap_or(0);
            let size = sizes.get(&volume.name).and_then(|size| i64::try_from(*size).ok()).unwrap_or(-1);
            let usage_data = Some(UsageData { ref_count, size });
            Volume { usage_data, ..self.show_volume(&volume, None) }
        });
        shown.collect()
    }

    /// The bytes in each of them; those that could not be read are left out.
    async fn walk_volumes(&self) -> Arc<HashMap<String, u64>> {
        let names: Vec<String> = self.volumes.list().into_iter().filter(is_plain).map(|volume| volume.name).collect();
        let paths = names.iter().map(|name| self.volumes.mountpoint(name)).collect();
        layer_sizes::walk(names, paths).await
    }

    /// Bytes; -1 when they cannot be told.
    pub(super) async fn volume_size(&self, volume: &Stored) -> i64 {
        if !is_plain(volume) {
            return -1;
        }
        let path = self.volumes.mountpoint(&volume.name);
        let size = tokio::task::spawn_blocking(move || gantry_volumes::tree_size(&path)).await;
        size.ok().and_then(std::io::Result::ok).and_then(|size| i64::try_from(size).ok()).unwrap_or(-1)
    }
}
