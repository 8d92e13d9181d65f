//! What the state database holds about images.

use crate::{Image, ImageDocument, ImageId, ImageIndex, image::Layer, layout};
use gantry_model::{Digest, Result, Timestamp, error::Context};
use gantry_state_db::Table;
use serde::{Deserialize, Serialize};

/// Images by id.
pub(crate) const IMAGES: Table<ImageRecord> = Table::new("images");
/// Removed images whose layers a container still uses, by id.
pub(crate) const DETACHED: Table<ImageRecord> = Table::new("images-detached");
/// Damaged blobs by digest, and how the damage showed.
pub(crate) const DAMAGED: Table<String> = Table::new("image-blobs-damaged");
/// Images by full reference.
pub(crate) const REFERENCES: Table<ReferenceRecord> = Table::new("image-references");

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    /// The document's exact text; the id is its digest.
    pub(crate) document: String,
    pub(crate) parent: Option<ImageId>,
    pub(crate) manifest: Digest,
    pub(crate) manifest_size: u64,
    /// The manifest's media type; records from before it was kept are OCI manifests of our own.
    #[serde(default = "oci_manifest")]
    pub(crate) manifest_type: String,
    /// The index that the image was chosen from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<IndexRecord>,
    pub(crate) layers: Vec<Layer>,
    /// The boot in which the files were written, until they are known to be on disk. After another boot they must be
    /// checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unsynced: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct IndexRecord {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    #[serde(default)]
    pub(crate) size: u64,
}

fn oci_manifest() -> String {
    layout::MANIFEST.to_owned()
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ReferenceRecord {
    pub(crate) image: ImageId,
    pub(crate) since: Timestamp,
}

impl ImageRecord {
    /// The record of an image with an OCI manifest that came from no index and has no parent.
    pub(crate) fn new(document: String, manifest: Digest, manifest_size: u64, layers: Vec<Layer>) -> Self {
        Self {
            document,
            parent: None,
            manifest,
            manifest_size,
            manifest_type: oci_manifest(),
            index: None,
            layers,
            unsynced: None,
        }
    }

    /// Blobs that the image needs.
    pub(crate) fn blobs<'a>(&'a self, id: &'a ImageId) -> impl Iterator<Item = &'a Digest> {
        let index = self.index.as_ref().map(|index| &index.digest);
        [id.digest(), &self.manifest].into_iter().chain(index).chain(self.layers.iter().map(|l| &l.blob))
    }

    /// The image without its names.
    pub(crate) fn image(&self, id: &ImageId) -> Result<Image> {
        let document: ImageDocument = serde_json::from_str(&self.document)
            .map_err(|e| gantry_model::Error::internal(e.to_string()))
            .context(format_args!("the stored document of image {id}"))?;
        Ok(Image {
            id: id.clone(),
            parent: self.parent.clone(),
            repo_tags: Vec::new(),
            repo_digests: Vec::new(),
            last_tagged: Timestamp::ZERO,
            size: self.layers.iter().map(|l| l.size).sum(),
            manifest: self.manifest.clone(),
            manifest_size: self.manifest_size,
            manifest_type: self.manifest_type.clone(),
            index: self.index.clone().map(|IndexRecord { digest, media_type, size }| ImageIndex {
                digest,
                media_type,
                size,
            }),
            document_size: self.document.len() as u64,
            document,
            layers: self.layers.clone(),
        })
    }
}
