//! What a registry has: `GET /distribution/{name}/json`.

use crate::image::{Descriptor, Platform};
use serde::{Deserialize, Serialize};

/// An image at a registry, without its layers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DistributionInspect {
    /// Its manifest, or the index of its manifests.
    pub descriptor: Descriptor,
    /// What it is for.
    pub platforms: Vec<Platform>,
}
