//! More names for an image, and how it came to be.

use crate::{
    Image, ImageId, ImageStore, Moved,
    arrival::lasting,
    resolve::{check_taggable, resolve},
    state::State,
};
use gantry_model::{Error, Reference, Result, Timestamp};
use std::sync::Arc;

/// What a tag did.
#[derive(Debug, Clone)]
pub struct Tagged {
    /// The image.
    pub image: ImageId,
    /// Its new name.
    pub name: Reference,
    /// The image that had the name before.
    pub moved: Option<Moved>,
}

/// A line of an image's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The id of the image after this step, where there is one.
    pub id: Option<ImageId>,
    /// When.
    pub created: Timestamp,
    /// By what command.
    pub created_by: String,
    /// Tags of that image, in the short form.
    pub tags: Vec<String>,
    /// Bytes that the step added.
    pub size: u64,
    /// A note.
    pub comment: String,
}

impl ImageStore {
    /// Names the image that `source` means `repo:tag`, taking the name from whichever image has it.
    pub fn tag(&self, source: &str, repo: &str, tag: &str) -> Result<Tagged> {
        let name = Reference::parse(repo)?;
        let name = if tag.is_empty() { name } else { name.with_tag(tag)? };
        if name.digest().is_some() {
            return Err(Error::invalid("refusing to create a tag with a digest reference"));
        }
        check_taggable(&name)?;
        let name = name.or_latest();
        let image = self.resolve(source)?.id.clone();
        let moved = self.inner.commit_tag(&image, &name)?.pop();
        Ok(Tagged { image, name, moved })
    }

    /// Notes that an image is known to a registry under a name by digest: it was pushed there.
    pub fn add_digest_name(&self, image: &ImageId, name: &Reference) -> Result<()> {
        if name.digest().is_none() {
            return Err(Error::internal(format!("{name} has no digest")));
        }
        self.inner.commit_tag(image, &lasting(name)?).map(drop)
    }

    /// The steps that made an image, the newest first.
    pub fn history(&self, name: &str) -> Result<Vec<HistoryEntry>> {
        let state = self.inner.read_state();
        let image = resolve(&state, name)?;
        let mut layers = image.layers.iter();
        let mut entries = Vec::with_capacity(image.document.history.len());
        for item in &image.document.history {
            let size = if item.empty_layer {
                0
            } else {
                layers.next().ok_or_else(|| Error::internal("too many non-empty layers in History section"))?.size
            };
            entries.push(HistoryEntry {
                id: None,
                created: item.created,
                created_by: item.created_by.clone(),
                tags: Vec::new(),
                size,
                comment: item.comment.clone(),
            });
        }
        entries.reverse();
        name_steps(&state, &image, &mut entries);
        Ok(entries)
    }
}

/// The image itself is the newest step, its parents the ones before.
fn name_steps(state: &State, image: &Arc<Image>, entries: &mut [HistoryEntry]) {
    let mut step = Some(image.clone());
    for entry in entries {
        let Some(image) = step else { return };
        entry.id = Some(image.id.clone());
        entry.tags.clone_from(&image.repo_tags);
        step = image.parent.as_ref().and_then(|parent| state.get(parent)).map(|known| known.image.clone());
    }
}
