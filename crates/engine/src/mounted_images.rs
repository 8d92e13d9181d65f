//! Images that are mounted into containers (`type=image`): their layers stay as long as the container.

use crate::Engine;
use crate::container::Container;
use gantry_api_types::MountPoint;
use gantry_image_store::ImageId;
use gantry_model::digest::Digest;
use gantry_model::{Error, Id, Result};
use sha2::{Digest as _, Sha256};

impl Engine {
    /// Holds the layers for one mount; what is returned gives them back.
    pub(crate) fn hold_image(&self, container: Id, point: &MountPoint) -> Result<Id> {
        let id = holder(container, &point.destination);
        let image: Digest =
            point.source.parse().map_err(|e| Error::internal(format!("image {}: {e}", point.source)))?;
        self.images.hold_layers(id, &ImageId::new(image))?;
        Ok(id)
    }

    /// After a restart of the daemon, which remembers no holds.
    pub(crate) fn hold_mounted_images(&self, container: &Container) {
        for point in mounted(container) {
            if let Err(e) = self.hold_image(container.id, &point) {
                tracing::warn!("container {}: {e}", container.id);
            }
        }
    }

    /// The container is gone.
    pub(crate) fn release_mounted_images(&self, container: &Container) {
        for point in mounted(container) {
            if let Err(e) = self.images.release_layers(holder(container.id, &point.destination)) {
                tracing::warn!("container {}: releasing the image {}: {e}", container.id, point.name);
            }
        }
    }
}

fn mounted(container: &Container) -> Vec<MountPoint> {
    container.read().mounts.iter().filter(|point| point.r#type == "image").cloned().collect()
}

/// Holds are by container; a mount has one of its own.
fn holder(container: Id, destination: &str) -> Id {
    let mut hash = Sha256::new();
    hash.update(container.as_bytes());
    hash.update(destination.as_bytes());
    Id::from_bytes(hash.finalize().into())
}
