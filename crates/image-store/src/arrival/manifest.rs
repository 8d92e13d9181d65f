//! A manifest and a document from a registry, checked against each other before anything is fetched.

use super::{Incoming, WantedLayer, error::wrong_layers};
use crate::{
    ImageDocument, ImageId,
    extract::Limits,
    image::check_layer_count,
    layout::{Index, Manifest},
};
use gantry_model::{Digest, Error, Result, error::Context};
use sha2::{Digest as _, Sha256};

/// Bytes of a manifest or an index.
pub(super) const MAX_MANIFEST: usize = 4 << 20;
/// Bytes of an image's document.
pub(super) const MAX_DOCUMENT: usize = 8 << 20;

/// What a manifest and its document agree on.
pub(super) struct Checked {
    pub(super) id: ImageId,
    pub(super) document: String,
    pub(super) layers: Vec<WantedLayer>,
}

pub(super) fn check(incoming: &Incoming, limits: Limits) -> Result<Checked> {
    let sizes = [
        ("manifest", incoming.manifest.len(), MAX_MANIFEST),
        ("index", incoming.index.as_ref().map_or(0, |(_, bytes)| bytes.len()), MAX_MANIFEST),
        ("image configuration", incoming.document.len(), MAX_DOCUMENT),
    ];
    if let Some((what, size, most)) = sizes.into_iter().find(|(_, size, most)| size > most) {
        return Err(Error::invalid(format!("the {what} has {size} bytes, more than the {most} that are allowed")));
    }
    let manifest: Manifest = parse(&incoming.manifest, "invalid manifest")?;
    if let Some((_, index)) = &incoming.index {
        parse::<Index>(index, "invalid index")?;
    }
    let digest = Digest::sha256(Sha256::digest(&incoming.document).into());
    if manifest.config.digest != digest {
        let wanted = &manifest.config.digest;
        return Err(Error::invalid(format!("image config verification failed for digest {wanted}")));
    }
    let document: ImageDocument = parse(&incoming.document, "invalid image configuration")?;
    if !matches!(document.os.as_str(), "" | "linux") {
        let os = &document.os;
        return Err(Error::invalid(format!("image operating system {os:?} cannot be used on this platform")));
    }
    let rootfs = document.rootfs.ok_or_else(|| Error::invalid("invalid rootfs in image configuration"))?;
    if rootfs.diff_ids.len() != manifest.layers.len() {
        return Err(wrong_layers());
    }
    check_layer_count(manifest.layers.len())?;
    let mut layers = Vec::with_capacity(manifest.layers.len());
    for (layer, diff_id) in manifest.layers.into_iter().zip(rootfs.diff_ids) {
        for digest in [&layer.digest, &diff_id] {
            if digest.algorithm() != "sha256" {
                let algorithm = digest.algorithm();
                return Err(Error::invalid(format!("digest algorithm {algorithm} is not supported")));
            }
        }
        if layer.size > limits.bytes {
            return Err(Error::invalid(format!("layer {} exceeds the limit on size", layer.digest)));
        }
        layers.push(WantedLayer {
            blob: layer.digest,
            size: layer.size,
            media_type: layer.media_type,
            urls: layer.urls.unwrap_or_default(),
            diff_id,
            present: false,
        });
    }
    let text = String::from_utf8(incoming.document.clone());
    let document = text.map_err(|_| Error::invalid("the image configuration is not UTF-8"))?;
    Ok(Checked { id: ImageId::new(digest), document, layers })
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| Error::invalid(e.to_string())).context(what)
}
