//! `GET /system/df`.

use crate::{Engine, ImageListOptions, ListOptions};
use gantry_api_types::DiskUsage;
use gantry_model::{Error, Result};
use std::collections::HashSet;

impl Engine {
    /// What images, containers and volumes take on the disk. There is no build cache.
    pub async fn disk_usage(&self) -> Result<DiskUsage> {
        let everything = ListOptions { all: true, size: true, ..ListOptions::default() };
        let containers = self.container_list(everything).await?;
        let engine = self.arc();
        let images = tokio::task::spawn_blocking(move || {
            engine.images().list(ImageListOptions { all: false, shared_size: true, ..ImageListOptions::default() })
        });
        let images = images.await.map_err(|e| Error::internal(format!("the engine failed: {e}")))??;
        Ok(DiskUsage {
            layers_size: Some(self.layers_size()),
            images: Some(images),
            containers: Some(containers),
            volumes: Some(self.volumes_with_usage().await),
            build_cache: Some(Vec::new()),
        })
    }

    /// Bytes of all layers, each counted once however many images stand on it.
    fn layers_size(&self) -> i64 {
        let images = self.images.list();
        let mut seen = HashSet::new();
        let layers = images.iter().flat_map(|image| &image.layers).filter(|layer| seen.insert(layer.chain_id.clone()));
        i64::try_from(layers.map(|layer| layer.size).sum::<u64>()).unwrap_or(i64::MAX)
    }
}
