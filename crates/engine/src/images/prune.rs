//! `POST /images/prune`.

use super::Images;
use crate::filters::Filters;
use gantry_api_types::ImagePruneResponse;
use gantry_image_store::Image;
use gantry_model::Result;

impl Images<'_> {
    /// Removes unused images: those without a name, with `dangling=false` all.
    #[expect(clippy::needless_pass_by_value, reason = "callers on another thread give it away")]
    pub fn prune(self, filters: Filters) -> Result<ImagePruneResponse> {
        filters.accept_only(&["dangling", "label", "label!", "until"])?;
        let dangling = filters.boolean("dangling")?.unwrap_or(true);
        let until = crate::until::parse(&filters)?;
        let wanted = |image: &Image| {
            until.is_none_or(|until| image.document.created <= until)
                && filters.select_labels(&image.document.config.labels)
        };
        let before = self.engine.images.list();
        let in_use = |id: &_| self.in_use(id);
        let (deleted, space_reclaimed) = if dangling {
            self.engine.images.prune(&wanted, &in_use)
        } else {
            self.engine.images.prune_unused(&wanted, &in_use)
        };
        let deleted = self.report(deleted, &before);
        // What interrupted pulls left.
        let space_reclaimed = space_reclaimed + self.engine.images.prune_partials()?;
        self.engine.prune_event("image", space_reclaimed);
        Ok(ImagePruneResponse { images_deleted: Some(deleted).filter(|d| !d.is_empty()), space_reclaimed })
    }
}
