//! `GET /system/df`.

use crate::{build::BuildCache, container::ContainerSummary, image::ImageSummary, volume::Volume};
use serde::{Deserialize, Serialize};

/// What uses the disk. A kind that the client did not ask for is `null`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DiskUsage {
    /// Bytes of all layers, each counted once.
    pub layers_size: i64,
    /// With `SharedSize` and `Containers` computed.
    pub images: Option<Vec<ImageSummary>>,
    /// With sizes.
    pub containers: Option<Vec<ContainerSummary>>,
    /// With `UsageData`.
    pub volumes: Option<Vec<Volume>>,
    /// Records of the build cache.
    pub build_cache: Option<Vec<BuildCache>>,
}
