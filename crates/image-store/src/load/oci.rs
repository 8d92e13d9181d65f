//! The table of contents of an OCI layout, and manifests wherever else they are.

use super::{Described, MAX_IMAGES, MAX_MANIFEST, OwnManifest, archive::Spooled, invalid, other_platform};
use crate::layout::{self, DOCKER_CONFIG, Descriptor, IMAGE_NAME, Index, REF_NAME};
use gantry_model::{Digest, Platform, Reference, Result};
use serde::{Deserialize, de::DeserializeOwned};
use std::cell::Cell;

pub(super) const TABLE: &str = "index.json";
const BLOBS: &str = "blobs/sha256/";
/// Indexes within indexes.
const MAX_DEPTH: usize = 4;
/// Bytes of manifests and indexes that one archive may make us read.
const MAX_READ: u64 = 64 << 20;

/// A manifest or an index. The media type is optional, so the content decides.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

/// What a manifest says.
struct Found {
    own: OwnManifest,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

enum Outcome {
    Image(Box<Found>),
    /// Something else that registries keep, of this type.
    Artifact(String),
    /// An index with nothing for the platform that was asked for.
    OtherPlatform,
    /// An empty index, or one of attestations alone.
    Nothing,
}

/// Manifests of an archive, as many as are reasonable.
struct Manifests<'a> {
    archive: &'a Spooled,
    /// Where blobs are.
    blobs: &'static str,
    platform: Option<&'a Platform>,
    left: Cell<u64>,
}

pub(super) fn describe(archive: &Spooled, platform: Option<&Platform>) -> Result<Vec<Described>> {
    let manifests = Manifests { archive, blobs: BLOBS, platform, left: Cell::new(MAX_READ) };
    let index = manifests.table()?;
    let mut images: Vec<Described> = Vec::new();
    let mut refused = None;
    for descriptor in index.manifests.iter().filter(|d| !layout::is_attestation(d)) {
        let name = name(descriptor);
        let shown = || name.as_ref().map_or_else(|| descriptor.digest.to_string(), Reference::familiar);
        let found = match manifests.image(descriptor, 0)? {
            Outcome::Image(found) => found,
            Outcome::Artifact(kind) => {
                let shown = shown();
                refused = Some(invalid(format_args!("{shown} is not an image but an artifact of type {kind:?}")));
                continue;
            }
            Outcome::OtherPlatform => {
                refused = platform.map(|wanted| other_platform(shown(), wanted));
                continue;
            }
            Outcome::Nothing => continue,
        };
        // A layout has one entry for each name of an image.
        if let Some(known) = images.iter_mut().find(|image| image.is(&found)) {
            known.names.extend(name);
            continue;
        }
        images.push(manifests.described(*found, name)?);
        if images.len() > MAX_IMAGES {
            return Err(invalid(format_args!("it has more than {MAX_IMAGES} images")));
        }
    }
    match refused {
        // What is beside images may be of use to others.
        Some(e) if images.is_empty() => Err(e),
        _ => Ok(images),
    }
}

/// The image of a directory of containers/image: its manifest is `manifest.json`, its blobs are beside it.
pub(super) fn describe_directory(
    archive: &Spooled,
    manifest: &[u8],
    platform: Option<&Platform>,
) -> Result<Vec<Described>> {
    let manifests = Manifests { archive, blobs: "", platform, left: Cell::new(MAX_READ) };
    let member = super::docker::TABLE.as_bytes().to_vec();
    match manifests.classify(parse(manifest, super::docker::TABLE)?, member, 0)? {
        Outcome::Image(found) => Ok(vec![manifests.described(*found, None)?]),
        Outcome::Artifact(kind) => Err(invalid(format_args!("it holds no image but an artifact of type {kind:?}"))),
        Outcome::OtherPlatform => Err(other_platform("-", platform.unwrap_or(&Platform::host()))),
        Outcome::Nothing => Ok(Vec::new()),
    }
}

/// Gives images of a Docker archive the manifests that an OCI layout in the same archive has for them, so that their
/// digests survive. What is wrong with the layout is no reason to refuse the images.
pub(super) fn attach_manifests(archive: &Spooled, images: &mut [Described]) {
    if !archive.contains(TABLE.as_bytes()) {
        return;
    }
    let manifests = Manifests { archive, blobs: BLOBS, platform: None, left: Cell::new(MAX_READ) };
    let Ok(index) = manifests.table() else { return };
    for descriptor in index.manifests.iter().take(MAX_IMAGES) {
        let Ok(Outcome::Image(found)) = manifests.image(descriptor, 0) else { continue };
        let same = |member: &[u8], digest: &Digest| archive.digest(member).is_ok_and(|(is, _)| is == digest);
        for image in images.iter_mut() {
            let fits = same(&image.document, &found.config.digest)
                && image.layers.len() == found.layers.len()
                && image.layers.iter().zip(&found.layers).all(|(member, layer)| same(member, &layer.digest));
            if fits {
                image.manifest = Some(found.own.clone());
            }
        }
    }
}

impl Described {
    fn is(&self, found: &Found) -> bool {
        self.manifest.as_ref().is_some_and(|own| own.member == found.own.member)
    }
}

impl Manifests<'_> {
    fn table(&self) -> Result<Index> {
        parse(&self.read(TABLE.as_bytes())?, TABLE)
    }

    fn read(&self, member: &[u8]) -> Result<Vec<u8>> {
        let bytes = self.archive.read_small(member, MAX_MANIFEST)?;
        let left = self.left.get().checked_sub(bytes.len() as u64);
        self.left.set(left.ok_or_else(|| invalid("too many manifests"))?);
        Ok(bytes)
    }

    /// The image that a descriptor leads to; of an index, the one for the wanted platform.
    fn image(&self, descriptor: &Descriptor, depth: usize) -> Result<Outcome> {
        if depth > MAX_DEPTH {
            return Err(invalid("too many nested indexes"));
        }
        let member = self.verified(descriptor)?;
        let mut document: Document = parse(&self.read(&member)?, descriptor.digest.as_str())?;
        if document.media_type.is_empty() {
            document.media_type.clone_from(&descriptor.media_type);
        }
        self.classify(document, member, depth)
    }

    fn classify(&self, document: Document, member: Vec<u8>, depth: usize) -> Result<Outcome> {
        if let Some(candidates) = document.manifests {
            return self.choose(&candidates, depth);
        }
        let Some(config) = document.config else {
            return Err(invalid("a manifest without a configuration; schema 1 is not supported"));
        };
        let layers = document.layers.unwrap_or_default();
        let is_image = [layout::CONFIG, DOCKER_CONFIG, ""].contains(&config.media_type.as_str());
        if !is_image || document.artifact_type.is_some() {
            return Ok(Outcome::Artifact(document.artifact_type.unwrap_or(config.media_type)));
        }
        let media_type = Some(document.media_type).filter(|media_type| !media_type.is_empty());
        let media_type = media_type.unwrap_or_else(|| layout::MANIFEST.to_owned());
        Ok(Outcome::Image(Box::new(Found { own: OwnManifest { member, media_type }, config, layers })))
    }

    fn choose(&self, candidates: &[Descriptor], depth: usize) -> Result<Outcome> {
        let is_here = |d: &&Descriptor| self.archive.contains(&self.member(&d.digest));
        let candidates: Vec<&Descriptor> = candidates.iter().filter(|d| !layout::is_attestation(d)).collect();
        let host = Platform::host();
        let wanted = self.platform.unwrap_or(&host);
        let suitability = |d: &&Descriptor| {
            d.platform.as_ref().and_then(|p| {
                wanted.suitability(&Platform::new(&p.os, &p.architecture, p.variant.as_deref().unwrap_or_default()))
            })
        };
        let suitable = candidates.iter().filter(|d| suitability(d).is_some());
        // Whoever asks for nothing in particular takes what is in the archive: an index may name more than that.
        let best = match self.platform {
            // What names no platform may be an index that does.
            Some(_) => suitable
                .min_by_key(|d| suitability(d))
                .or_else(|| candidates.iter().find(|d| d.platform.is_none() && is_here(d))),
            None => suitable
                .filter(|d| is_here(d))
                .min_by_key(|d| suitability(d))
                .or_else(|| candidates.iter().find(|d| is_here(d)))
                .or(candidates.first()),
        };
        match best {
            Some(chosen) => self.image(chosen, depth + 1),
            None if candidates.is_empty() => Ok(Outcome::Nothing),
            None => Ok(Outcome::OtherPlatform),
        }
    }

    fn described(&self, found: Found, name: Option<Reference>) -> Result<Described> {
        Ok(Described {
            document: self.verified(&found.config)?,
            layers: found.layers.iter().map(|layer| self.verified(layer)).collect::<Result<_>>()?,
            manifest: Some(found.own),
            parent: None,
            names: name.into_iter().collect(),
        })
    }

    fn member(&self, digest: &Digest) -> Vec<u8> {
        format!("{}{}", self.blobs, digest.hex()).into_bytes()
    }

    /// The member that a descriptor names, whose path only claims to have its digest.
    fn verified(&self, wanted: &Descriptor) -> Result<Vec<u8>> {
        let digest = &wanted.digest;
        if digest.algorithm() != "sha256" {
            return Err(invalid(format_args!("digest algorithm {} is not supported", digest.algorithm())));
        }
        let member = self.member(digest);
        if let Some(url) = wanted.urls.iter().flatten().next()
            && !self.archive.contains(&member)
        {
            return Err(invalid(format_args!("layer {digest} is not in it but at {url}; pull the image instead")));
        }
        let (found, size) = self.archive.digest(&member)?;
        if found != digest {
            return Err(invalid(format_args!("blob {digest} has the digest {found}")));
        }
        if size != wanted.size {
            return Err(invalid(format_args!("blob {digest} has {size} bytes and not {}", wanted.size)));
        }
        Ok(member)
    }
}

/// The full name if the writer gave one. A bare tag names no repository, so nothing can be called by it.
///
/// Docker and containerd write the name and the tag. Programs that know of one annotation alone write their names there,
/// and keep the other as it was.
fn name(descriptor: &Descriptor) -> Option<Reference> {
    let annotations = descriptor.annotations.as_ref()?;
    let own = annotations.get(REF_NAME).filter(|text| text.contains(['/', ':']));
    let text = own.or_else(|| annotations.get(IMAGE_NAME))?;
    let name = Reference::parse(text).ok()?;
    name.digest().is_none().then(|| name.or_latest())
}

fn parse<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| invalid(format_args!("{what}: {e}")))
}
