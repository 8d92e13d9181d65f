//! `GET /distribution/{name}/json`: what a registry has under a name.

use super::pull::{index, media};
use crate::Engine;
use crate::transfer::small_blob;
use gantry_api_types::image::{Descriptor, Platform};
use gantry_api_types::{AuthConfig, DistributionInspect};
use gantry_model::{AnyReference, Digest, Error, ErrorKind, Result};
use gantry_registry_client::{self as registry, Access, Manifest, Refusal, Repository, Which};
use serde::Deserialize;

/// Bytes of an image's configuration, at most.
const MAX_DOCUMENT: u64 = 8 << 20;

#[derive(Deserialize)]
struct Head {
    config: Config,
}

#[derive(Deserialize)]
struct Config {
    digest: Digest,
}

impl Engine {
    /// Asks a registry what it has.
    pub async fn distribution_inspect(&self, name: &str, auth: &AuthConfig) -> Result<DistributionInspect> {
        let reference = match AnyReference::parse(name)? {
            AnyReference::Named(reference) => reference.or_latest(),
            AnyReference::Digest(_) => return Err(Error::invalid("no manifest found for full image ID")),
        };
        let credentials = super::login::credentials(auth);
        let repository = self.registry.repository(&reference, &credentials, Access::Pull)?;
        let which = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => Which::Digest(digest),
            (None, tag) => Which::Tag(tag.unwrap_or(gantry_model::reference::DEFAULT_TAG)),
        };
        let manifest = repository.manifest(which).await.map_err(refused)?;
        let (media_type, kind) = media::classify(&manifest.media_type, &manifest.bytes)?;
        let platforms = match kind {
            media::Kind::Index => {
                index::entries(&manifest.bytes)?.into_iter().filter_map(|entry| entry.platform).collect()
            }
            media::Kind::Manifest => self.platform_of(&repository, &manifest).await?.into_iter().collect(),
        };
        let size = i64::try_from(manifest.bytes.len()).unwrap_or(i64::MAX);
        let digest = manifest.digest.to_string();
        let descriptor = Descriptor { media_type, digest, size, ..Descriptor::default() };
        Ok(DistributionInspect { descriptor, platforms })
    }

    /// What a single image is for: its configuration says so, if it is an image.
    async fn platform_of(&self, repository: &Repository, manifest: &Manifest) -> Result<Option<Platform>> {
        let Ok(Head { config }) = serde_json::from_slice(&manifest.bytes) else { return Ok(None) };
        let document = small_blob(repository, &config.digest, MAX_DOCUMENT, self.transfers.attempts()).await?;
        let platform: Option<Platform> = serde_json::from_slice(&document).ok();
        Ok(platform.filter(|platform| !platform.os.is_empty() || !platform.architecture.is_empty()))
    }
}

/// Here the registry's own words and status are the answer.
fn refused(error: registry::Error) -> Error {
    let registry::Error::Refused(refusal) = &error else { return error.into() };
    let kind = match refusal.status {
        400 => ErrorKind::InvalidArgument,
        401 => ErrorKind::Unauthorized,
        403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound,
        _ => ErrorKind::Internal,
    };
    let words = Refusal { wanted: None, ..Refusal::clone(refusal) }.to_string();
    Error::new(kind, words).with_source(error)
}
