//! What the rest of the engine sees of an image.

use crate::{Compression, ImageDocument};
use gantry_model::{Digest, Error, Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// overlayfs stacks at most 500 directories, one of which is sometimes a container's own.
const MAX_LAYERS: usize = 499;

/// The digest of an image's document.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(Digest);

impl ImageId {
    /// The id of the document with this digest.
    pub fn new(digest: Digest) -> Self {
        Self(digest)
    }

    /// As `sha256:…`.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The first twelve digits.
    pub fn short(&self) -> &str {
        self.0.short()
    }

    /// The digest.
    pub fn digest(&self) -> &Digest {
        &self.0
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageId({})", self.short())
    }
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Digest of the blob as it came.
    pub blob: Digest,
    /// Its size.
    pub blob_size: u64,
    /// How it is compressed.
    pub compression: Compression,
    /// Digest of the archive in it.
    pub diff_id: Digest,
    /// Digest that stands for this layer on top of those below it.
    pub chain_id: Digest,
    /// Bytes of file data.
    pub size: u64,
}

/// The index that an image was chosen from; a blob of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageIndex {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its size.
    pub size: u64,
}

/// An image.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// The image that it was made from, where that is known.
    pub parent: Option<ImageId>,
    /// Its tags in the short form, sorted.
    pub repo_tags: Vec<String>,
    /// Its names by digest in the short form, sorted.
    pub repo_digests: Vec<String>,
    /// When it last got a tag here.
    pub last_tagged: Timestamp,
    /// Bytes of file data in all layers.
    pub size: u64,
    /// Digest of its manifest blob.
    pub manifest: Digest,
    /// Size of that.
    pub manifest_size: u64,
    /// Media type of that.
    pub manifest_type: String,
    /// The index that it was chosen from.
    pub index: Option<ImageIndex>,
    /// Size of its document.
    pub document_size: u64,
    /// Its document: configuration, history, platform and the like.
    pub document: ImageDocument,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
}

impl Image {
    /// Whether no name leads to it.
    pub fn is_unnamed(&self) -> bool {
        self.repo_tags.is_empty() && self.repo_digests.is_empty()
    }
}

/// The chain ids of layers with these archives, the lowest first.
pub(crate) fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    use sha2::Digest as _;
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let id = match chain.last() {
            None => diff_id.clone(),
            Some(below) => Digest::sha256(sha2::Sha256::digest(format!("{below} {diff_id}")).into()),
        };
        chain.push(id);
    }
    chain
}

/// Whether so many layers can be stacked.
pub(crate) fn check_layer_count(count: usize) -> Result<()> {
    if count <= MAX_LAYERS {
        return Ok(());
    }
    Err(Error::invalid(format!("the image has {count} layers, more than the {MAX_LAYERS} that can be used")))
}
