//! `GET /system/df`.

use crate::{Engine, ImageListOptions, ListOptions};
use gantry_api_types::DiskUsage;
use gantry_model::{Error, Result};

/// What to look at. Each kind takes work: volumes and containers are walked.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "a set of four independent kinds")]
#[expect(missing_docs, reason = "four plain fields")]
pub struct DiskUsageOptions {
    pub containers: bool,
    pub images: bool,
    pub volumes: bool,
    pub build_cache: bool,
}

impl DiskUsageOptions {
    /// Everything.
    pub const ALL: Self = Self { containers: true, images: true, volumes: true, build_cache: true };
}

impl Engine {
    /// What images, containers, volumes and the build cache take on the disk.
    pub async fn disk_usage(&self, wanted: DiskUsageOptions) -> Result<DiskUsage> {
        let mut usage = DiskUsage::default();
        if wanted.containers {
            let everything = ListOptions { all: true, size: true, ..ListOptions::default() };
            usage.containers = Some(self.container_list(everything).await?);
        }
        if wanted.images {
            let engine = self.arc();
            let list = tokio::task::spawn_blocking(move || {
                let options = ImageListOptions { shared_size: true, containers: true, ..ImageListOptions::default() };
                Ok::<_, Error>((engine.images().list(options)?, engine.images.layers_size()))
            });
            let (images, layers) = list.await.map_err(|e| Error::internal(format!("the engine failed: {e}")))??;
            usage.images = Some(images);
            usage.layers_size = i64::try_from(layers).unwrap_or(i64::MAX);
        }
        if wanted.volumes {
            usage.volumes = Some(self.volumes_with_usage().await);
        }
        if wanted.build_cache {
            let engine = self.arc();
            usage.build_cache = Some(crate::blocking(move || engine.build_cache_usage()).await?);
        }
        Ok(usage)
    }
}
