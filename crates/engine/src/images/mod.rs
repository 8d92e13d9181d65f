//! Images, as clients see them. The calls block: archives are streams, and the store keeps files.

mod distribution;
pub(crate) mod fetch;
mod glob;
mod inspect;
mod lines;
mod list;
mod load;
mod login;
mod manifests;
mod platform;
mod prune;
mod pull;
mod push;
mod reference_filter;
mod remove;
mod search;
mod sizes;
mod view;

pub use inspect::ImageInspectOptions;
pub use list::ImageListOptions;
pub use pull::ImagePull;
pub use push::ImagePush;
pub(crate) use push::Places;
pub use remove::ImageRemoveOptions;
pub use search::ImageSearch;

use crate::Engine;
use gantry_image_store::{ImportOptions, Progress, import_name};
use gantry_model::{Platform, Result};
use std::collections::BTreeMap;
use std::io::{Read, Write};

/// Parameters of an import, as the client wrote them.
#[derive(Debug, Clone, Default)]
pub struct ImageImport {
    /// The repository, or empty.
    pub repo: String,
    /// The tag, or a whole name when there is no repository.
    pub tag: String,
    /// The comment.
    pub message: String,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// `os[/arch[/variant]]`.
    pub platform: Option<String>,
}

/// The image service of an [`Engine`].
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    engine: &'a Engine,
}

impl Engine {
    /// The images.
    pub fn images(&self) -> Images<'_> {
        Images { engine: self }
    }
}

impl Images<'_> {
    /// Imports an archive of a root file system; the new image's id.
    pub fn import(self, body: &mut dyn Read, import: ImageImport) -> Result<String> {
        self.import_from("-", body, import)
    }

    /// Imports an archive that came from `source`.
    fn import_from(self, source: &str, body: &mut dyn Read, import: ImageImport) -> Result<String> {
        let name = import_name(&import.repo, &import.tag)?;
        let shown = name.as_ref().map(gantry_model::Reference::familiar);
        let options = ImportOptions {
            name,
            message: import.message,
            changes: import.changes,
            platform: import.platform,
            source: source.to_owned(),
        };
        let id = self.engine.images.import(body, options, &mut |_: Progress| ())?.to_string();
        self.event(&id, shown.as_deref().unwrap_or(&id), "import");
        Ok(id)
    }

    /// Writes an archive with the named images; with a platform, only if they are for it.
    pub fn save(self, names: &[String], wanted: Option<&Platform>, out: &mut dyn Write) -> Result<()> {
        let plan = self.engine.images.prepare_save(names)?;
        for (image, names) in plan.images() {
            let name = names.first().map_or_else(|| image.id.to_string(), gantry_model::Reference::familiar);
            platform::require(image, &name, wanted)?;
        }
        plan.write(out)?;
        for (image, _) in plan.images() {
            self.event(image.id.as_str(), image.id.as_str(), "save");
        }
        Ok(())
    }

    /// Gives an image another name.
    pub fn tag(self, name: &str, repo: &str, tag: &str) -> Result<()> {
        let tagged = self.engine.images.tag(name, repo, tag)?;
        self.event(tagged.image.as_str(), &tagged.name.familiar(), "tag");
        Ok(())
    }

    /// An event of an image that exists, with its labels.
    fn event(self, id: &str, name: &str, action: &str) {
        let image = self.engine.images.resolve(id).ok();
        let labels: Option<&BTreeMap<String, String>> = image.as_ref().map(|image| &image.document.config.labels);
        self.engine.image_event(id, name, action, labels);
    }
}
