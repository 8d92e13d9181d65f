//! Where the bytes of a layer come from.

use gantry_image_store::WantedLayer;
use gantry_registry_client::{BlobBody, Error, Repository};
use std::sync::Arc;

/// Places of one layer that are tried. A manifest has room for a hundred thousand, each a request to somebody.
const PLACES: usize = 8;

/// A repository with the access of the client that asked, and for layers that registries must not hold the places
/// where they are.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) repository: Repository,
    urls: Arc<[String]>,
}

impl Source {
    pub(crate) fn new(repository: Repository, urls: &[String]) -> Self {
        Self { repository, urls: urls[..urls.len().min(PLACES)].into() }
    }

    /// Opens the blob at `from`, up to before `to`. The registry comes first: many hold foreign layers after all.
    pub(super) async fn open(&self, wanted: &WantedLayer, from: u64, to: Option<u64>) -> Result<BlobBody, Error> {
        let refused = match self.repository.blob(&wanted.blob, from, to).await {
            Ok(body) => return Ok(body),
            Err(e) if self.urls.is_empty() || e.is_transient() => return Err(e),
            Err(e) => e,
        };
        for url in self.urls.iter() {
            match self.repository.foreign_blob(url, from, to).await {
                Ok(body) => return Ok(body),
                Err(e) => tracing::debug!("layer {}: {url}: {e}", wanted.blob),
            }
        }
        Err(refused)
    }
}
