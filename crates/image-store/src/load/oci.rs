//! The table of contents of an OCI layout.

use super::{Described, MAX_MANIFEST, archive::Spooled, invalid};
use crate::layout::{Descriptor, IMAGE_NAME, Index, Manifest, Platform, REF_NAME};
use gantry_model::{Digest, Reference, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(super) const TABLE: &str = "index.json";
/// Indexes within indexes.
const MAX_DEPTH: usize = 4;

pub(super) fn describe(archive: &Spooled) -> Result<Vec<Described>> {
    let table = archive.read_small(TABLE.as_bytes(), MAX_MANIFEST)?;
    let index: Index = parse(&table, TABLE)?;
    let mut images: Vec<Described> = Vec::new();
    for descriptor in index.manifests.iter().filter(|d| !is_attestation(d)) {
        let Some((path, manifest)) = image_manifest(archive, descriptor, 0)? else { continue };
        let name = name(descriptor);
        // A layout has one entry for each name of an image.
        if let Some(known) = images.iter_mut().find(|image| image.manifest.as_ref() == Some(&path)) {
            known.names.extend(name);
            continue;
        }
        images.push(Described {
            document: verified(archive, &manifest.config.digest)?,
            layers: manifest.layers.iter().map(|l| verified(archive, &l.digest)).collect::<Result<_>>()?,
            manifest: Some(path),
            parent: None,
            names: name.into_iter().collect(),
        });
    }
    Ok(images)
}

/// The manifest that a descriptor leads to; of an index, the one for this machine. `None` when there is none.
fn image_manifest(archive: &Spooled, descriptor: &Descriptor, depth: usize) -> Result<Option<(Vec<u8>, Manifest)>> {
    if depth > MAX_DEPTH {
        return Err(invalid("too many nested indexes"));
    }
    let path = verified(archive, &descriptor.digest)?;
    let bytes = archive.read_small(&path, MAX_MANIFEST)?;
    let shown = descriptor.digest.as_str();
    // The media type is optional, so the content decides.
    let value: Value = parse(&bytes, shown)?;
    if value.get("manifests").is_none() {
        return Ok(Some((path, parse(&bytes, shown)?)));
    }
    let index: Index = parse(&bytes, shown)?;
    let candidates: Vec<&Descriptor> = index.manifests.iter().filter(|d| !is_attestation(d)).collect();
    let ours = candidates.iter().find(|d| d.platform.as_ref().is_some_and(is_this_machine));
    match ours.or(candidates.first()) {
        Some(chosen) => image_manifest(archive, chosen, depth + 1),
        None => Ok(None),
    }
}

/// The member with this digest, which its path only claims.
fn verified(archive: &Spooled, digest: &Digest) -> Result<Vec<u8>> {
    if digest.algorithm() != "sha256" {
        return Err(invalid(format_args!("digest algorithm {} is not supported", digest.algorithm())));
    }
    let path = format!("blobs/sha256/{}", digest.hex()).into_bytes();
    let found = archive.digest(&path)?;
    if found != digest {
        return Err(invalid(format_args!("blob {digest} has the digest {found}")));
    }
    Ok(path)
}

/// The full name if the writer gave one. A bare tag names no repository, so nothing can be called by it.
fn name(descriptor: &Descriptor) -> Option<Reference> {
    let annotations = descriptor.annotations.as_ref()?;
    let full = annotations.get(IMAGE_NAME);
    let text = full.or_else(|| annotations.get(REF_NAME).filter(|text| text.contains(['/', ':'])))?;
    let name = Reference::parse(text).ok()?;
    name.digest().is_none().then(|| name.or_latest())
}

/// BuildKit stores attestations beside images, for a platform that does not exist.
fn is_attestation(descriptor: &Descriptor) -> bool {
    descriptor.platform.as_ref().is_some_and(|p| p.os == "unknown" && p.architecture == "unknown")
}

fn is_this_machine(platform: &Platform) -> bool {
    platform.os == "linux" && platform.architecture == crate::import::host_architecture()
}

fn parse<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| invalid(format_args!("{what}: {e}")))
}
