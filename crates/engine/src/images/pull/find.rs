//! The documents of an image: manifest, index and configuration. Those that are here are not fetched again.

use super::media::{self, Kind};
use super::{Pull, index};
use crate::{blocking, transfer};
use gantry_image_store::{ImageStore, Incoming};
use gantry_model::{Digest, Error, Reference, Result};
use gantry_registry_client::{Manifest, Which};
use serde::Deserialize;
use std::io::Read;

/// Bytes of an image's configuration, at most.
const MAX_DOCUMENT: u64 = 8 << 20;
/// Bytes of a manifest, at most.
const MAX_MANIFEST: u64 = 4 << 20;

/// What the registry has under a reference.
pub(super) struct Found {
    /// The digest that the reference means: of the index if there is one.
    pub(super) digest: Digest,
    content_type: String,
    bytes: Vec<u8>,
}

/// The part of a manifest that leads on.
#[derive(Deserialize)]
struct Head {
    config: Config,
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    #[serde(default)]
    media_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    media_type: String,
    digest: Digest,
    #[serde(default)]
    size: u64,
}

impl Pull {
    /// What `reference` means at the registry.
    pub(super) async fn find(&self, reference: &Reference) -> Result<Found> {
        let Some(digest) = reference.digest() else {
            return self.find_tag(reference).await;
        };
        match self.stored(digest).await? {
            // Who may not read the repository must not learn what is in it from what others pulled.
            Some(bytes) if self.repository.manifest_head(Which::Digest(digest)).await?.is_some() => {
                Ok(Found { digest: digest.clone(), content_type: String::new(), bytes })
            }
            _ => Ok(self.repository.manifest(Which::Digest(digest)).await?.into()),
        }
    }

    /// Where an image of that name is here, asking what the tag means now is cheaper than fetching it, and registries
    /// that count pulls do not count it.
    async fn find_tag(&self, reference: &Reference) -> Result<Found> {
        let tag = reference.tag().unwrap_or(gantry_model::reference::DEFAULT_TAG);
        if self.engine.images.resolve(&reference.to_string()).is_ok()
            && let Some(head) = self.repository.manifest_head(Which::Tag(tag)).await?
            && let Some(digest) = head.digest
            && let Some(bytes) = self.stored(&digest).await?
        {
            return Ok(Found { digest, content_type: head.media_type, bytes });
        }
        Ok(self.repository.manifest(Which::Tag(tag)).await?.into())
    }

    /// Everything about the image but its layers.
    pub(super) async fn documents(&self, found: Found) -> Result<Incoming> {
        let (media_type, kind) = media::classify(&found.content_type, &found.bytes)?;
        let (media_type, manifest, index) = match kind {
            Kind::Manifest => (media_type, found.bytes, None),
            Kind::Index => {
                let digest = index::choose(&found.bytes, self.platform.as_ref())?;
                let (chosen_type, chosen) = self.manifest_of_index(&digest).await?;
                (chosen_type, chosen, Some((media_type, found.bytes)))
            }
        };
        let head: Head = serde_json::from_slice(&manifest)
            .map_err(|e| Error::invalid(format!("the registry's manifest is not valid: {e}")))?;
        media::check_config(&head.config.media_type)?;
        head.layers.iter().try_for_each(|layer| media::check_layer(&layer.media_type))?;
        let document = self.document(&head.config).await?;
        Ok(Incoming { manifest, media_type, document, index })
    }

    async fn manifest_of_index(&self, digest: &Digest) -> Result<(String, Vec<u8>)> {
        let (content_type, bytes) = if let Some(bytes) = self.stored(digest).await? {
            (String::new(), bytes)
        } else {
            let manifest = self.repository.manifest(Which::Digest(digest)).await?;
            (manifest.media_type, manifest.bytes.into())
        };
        match media::classify(&content_type, &bytes)? {
            (media_type, Kind::Manifest) => Ok((media_type, bytes)),
            // An index in an index could go on for ever.
            (_, Kind::Index) => Err(Error::invalid("unsupported manifest format")),
        }
    }

    async fn document(&self, config: &Config) -> Result<Vec<u8>> {
        if config.size > MAX_DOCUMENT {
            let (digest, size) = (&config.digest, config.size);
            return Err(Error::invalid(format!("the image configuration {digest} has {size} bytes, too many")));
        }
        if let Some(bytes) = self.stored(&config.digest).await? {
            return Ok(bytes);
        }
        let attempts = self.engine.transfers.attempts();
        transfer::small_blob(&self.repository, &config.digest, MAX_DOCUMENT, attempts).await
    }

    /// A document that is here and sound.
    async fn stored(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        let (store, digest) = (self.engine.images.clone(), digest.clone());
        blocking(move || Ok::<_, Error>(read_stored(&store, &digest))).await
    }
}

impl From<Manifest> for Found {
    fn from(manifest: Manifest) -> Self {
        Self { digest: manifest.digest, content_type: manifest.media_type, bytes: manifest.bytes.into() }
    }
}

/// What cannot be read here can be fetched.
fn read_stored(store: &ImageStore, digest: &Digest) -> Option<Vec<u8>> {
    let mut blob = store.open_blob(digest).ok().flatten()?;
    if blob.size() > MAX_DOCUMENT.max(MAX_MANIFEST) {
        return None;
    }
    let mut bytes = Vec::new();
    blob.read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
