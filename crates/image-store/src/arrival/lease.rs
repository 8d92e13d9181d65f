//! A verified layer, kept while somebody may still make an image of it.

use crate::{image::Layer, lease::Lease};

/// A layer whose blob and directory are in the store. They stay while this lives; a blob that no image took then goes
/// back to the partial ones, where the next attempt finds it.
#[derive(Debug)]
pub struct LayerLease {
    _lease: Lease,
    layer: Layer,
}

impl LayerLease {
    pub(super) fn new(lease: Lease, layer: Layer) -> Self {
        Self { _lease: lease, layer }
    }

    /// The layer. Its chain id is known only in an image.
    pub(super) fn layer(&self) -> &Layer {
        &self.layer
    }

    /// Bytes of file data in it.
    pub fn size(&self) -> u64 {
        self.layer.size
    }
}
