//! `DELETE /images/{name}`, and what removals have in common.

use super::{Images, platform};
use gantry_api_types::ImageDeleteItem;
use gantry_image_store::{Deleted, Image, ImageId, InUse, RemoveOptions};
use gantry_model::{ContainerStatus, Error, Platform, Result};
use std::sync::Arc;

/// Query parameters of a removal.
#[derive(Debug, Clone, Default)]
pub struct ImageRemoveOptions {
    /// Also when there are several names or stopped containers.
    pub force: bool,
    /// Leave parents without a name.
    pub no_prune: bool,
    /// Only these variants.
    pub platforms: Vec<Platform>,
}

impl Images<'_> {
    /// Removes a name or an image.
    pub fn remove(self, name: &str, options: &ImageRemoveOptions) -> Result<Vec<ImageDeleteItem>> {
        if options.platforms.len() > 1 {
            return Err(Error::invalid("multiple platforms are not supported"));
        }
        let store = &self.engine.images;
        let image = store.resolve(name)?;
        platform::require(&image, name, options.platforms.first())?;
        let how = RemoveOptions { force: options.force, prune: !options.no_prune };
        let deleted = store.remove(name, how, &|id| self.in_use(id))?;
        Ok(self.report(deleted, &[image]))
    }

    /// Whether a container stands on an image; a running one weighs more.
    pub(crate) fn in_use(self, id: &ImageId) -> InUse {
        let mut found = InUse::None;
        for container in self.engine.containers.all() {
            let record = container.read();
            if record.image != id.as_str() {
                continue;
            }
            if record.state.status.is_live() || record.state.status == ContainerStatus::Restarting {
                return InUse::Running(record.id.short());
            }
            found = InUse::Stopped(record.id.short());
        }
        found
    }

    /// Publishes the events of a removal and puts it into the API's words. `before` are the images as they were: a name
    /// goes before its image does, so that its event still has the image's labels, which that of the image has not.
    pub(crate) fn report(self, deleted: Vec<Deleted>, before: &[Arc<Image>]) -> Vec<ImageDeleteItem> {
        let labels = |id: &ImageId| {
            let image = before.iter().find(|image| image.id == *id);
            image.map(|image| &image.document.config.labels)
        };
        deleted
            .into_iter()
            .map(|step| match step {
                Deleted::Untagged { name, image } => {
                    self.engine.image_event(image.as_str(), image.as_str(), "untag", labels(&image));
                    ImageDeleteItem { untagged: name, ..ImageDeleteItem::default() }
                }
                Deleted::Image(id) => {
                    self.engine.image_event(id.as_str(), id.as_str(), "delete", None);
                    ImageDeleteItem { deleted: id.to_string(), ..ImageDeleteItem::default() }
                }
                Deleted::Layer(chain_id) => ImageDeleteItem { deleted: chain_id, ..ImageDeleteItem::default() },
            })
            .collect()
    }
}
