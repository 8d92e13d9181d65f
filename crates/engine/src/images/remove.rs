//! `DELETE /images/{name}`, and what removals have in common.

use super::Images;
use gantry_api_types::ImageDeleteItem;
use gantry_image_store::{Deleted, ImageId, InUse, RemoveOptions};
use gantry_model::{ContainerStatus, Result};

impl Images<'_> {
    /// Removes a name or an image.
    pub fn remove(self, name: &str, force: bool, no_prune: bool) -> Result<Vec<ImageDeleteItem>> {
        let options = RemoveOptions { force, prune: !no_prune };
        let deleted = self.engine.images.remove(name, options, &|id| self.in_use(id))?;
        Ok(self.report(deleted))
    }

    /// Whether a container stands on an image; a running one weighs more.
    pub(super) fn in_use(self, id: &ImageId) -> InUse {
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

    /// Publishes the events of a removal and puts it into the API's words.
    pub(super) fn report(self, deleted: Vec<Deleted>) -> Vec<ImageDeleteItem> {
        deleted
            .into_iter()
            .map(|step| match step {
                Deleted::Untagged { name, image } => {
                    self.engine.image_event(image.as_str(), image.as_str(), "untag", None);
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
