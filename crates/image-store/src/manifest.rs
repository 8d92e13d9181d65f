//! The manifest of an image, as it came or as it was made here.

use crate::{ImageId, ImageStore, layout::Manifest, resolve::no_such_image};
use gantry_model::{Digest, Error, Result, error::Context};
use std::io::Read;

/// A manifest and what it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredManifest {
    /// Its media type.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The image's document.
    pub config: ManifestBlob,
    /// The layers, the lowest first.
    pub layers: Vec<ManifestBlob>,
    /// Media type and digest of the index that it was chosen from; a blob of the store.
    pub index: Option<(String, Digest)>,
}

/// A blob as a manifest describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub size: u64,
    /// Its media type.
    pub media_type: String,
    /// Where else than in a registry it can be had.
    pub urls: Vec<String>,
}

impl ImageStore {
    /// The manifest of an image: the one it came with, if it came with one.
    pub fn manifest_of(&self, id: &ImageId) -> Result<StoredManifest> {
        let record = self.inner.read_state().get(id).map(|known| known.record.clone());
        let record = record.ok_or_else(|| no_such_image(id.as_str()))?;
        let digest = record.manifest;
        let missing = || Error::internal(format!("the manifest {digest} of image {id} is missing or damaged"));
        let mut bytes = Vec::new();
        self.open_blob(&digest)?.ok_or_else(missing)?.read_to_end(&mut bytes)?;
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .map_err(|e| Error::internal(e.to_string()))
            .context(format_args!("the manifest {digest}"))?;
        let blob = |descriptor: crate::layout::Descriptor| ManifestBlob {
            digest: descriptor.digest,
            size: descriptor.size,
            media_type: descriptor.media_type,
            urls: descriptor.urls.unwrap_or_default(),
        };
        Ok(StoredManifest {
            media_type: record.manifest_type,
            bytes,
            config: blob(manifest.config),
            layers: manifest.layers.into_iter().map(blob).collect(),
            index: record.index.map(|index| (index.media_type, index.digest)),
            digest,
        })
    }
}
