//! `GET /images/{name}/json` and `GET /images/{name}/history`.

use super::{Images, platform, view};
use gantry_api_types::{HistoryItem, ImageInspect};
use gantry_model::{Error, Platform, Result};

/// Query parameters of an inspection.
#[derive(Debug, Clone, Default)]
pub struct ImageInspectOptions {
    /// The variant that is meant.
    pub platform: Option<Platform>,
    /// Tell about the manifests too.
    pub manifests: bool,
}

impl Images<'_> {
    /// Everything about an image.
    pub fn inspect(self, name: &str, options: &ImageInspectOptions) -> Result<ImageInspect> {
        if options.manifests && options.platform.is_some() {
            return Err(Error::invalid("conflicting options: manifests and platform options cannot both be set"));
        }
        let store = &self.engine.images;
        let image = store.resolve(name)?;
        platform::require(&image, name, options.platform.as_ref())?;
        let text = store.document_text(&image.id).unwrap_or_default();
        let mut inspect = view::inspect(&image, &text, &store.rootfs(&image));
        if options.manifests {
            let mut users = self.containers_by_image();
            let users = users.remove(image.id.as_str()).unwrap_or_default();
            inspect.manifests = Some(self.manifests(&image, &users));
        }
        Ok(inspect)
    }

    /// How an image came to be, the newest step first.
    pub fn history(self, name: &str, wanted: Option<&Platform>) -> Result<Vec<HistoryItem>> {
        let image = self.engine.images.resolve(name)?;
        platform::require(&image, name, wanted)?;
        Ok(self.engine.images.history(name)?.into_iter().map(view::history_item).collect())
    }
}
