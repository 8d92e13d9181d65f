//! The OCI documents around the blobs: the layout's marker, its index, and manifests for images that came without.

use crate::{Compression, Image, files::Files, image::Layer, state::State};
use gantry_model::{Digest, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// The full name of an image, as containerd writes it.
pub(crate) const IMAGE_NAME: &str = "io.containerd.image.name";
/// The tag or, by many programs, the name.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
pub(crate) const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// What a document says about a blob.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    #[serde(default)]
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) urls: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    #[serde(default)]
    pub(crate) layers: Vec<Descriptor>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    #[serde(default)]
    pub(crate) manifests: Vec<Descriptor>,
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, digest: &Digest, size: u64) -> Self {
        let (media_type, digest) = (media_type.to_owned(), digest.clone());
        Self { media_type, digest, size, urls: None, annotations: None, platform: None }
    }
}

/// BuildKit stores attestations beside images, for a platform that does not exist.
pub(crate) fn is_attestation(descriptor: &Descriptor) -> bool {
    descriptor.platform.as_ref().is_some_and(|p| p.os == "unknown" && p.architecture == "unknown")
}

/// The manifest of an image that has these layers.
pub(crate) fn manifest(document: &Digest, document_size: u64, layers: &[Layer]) -> Vec<u8> {
    let layer = |l: &Layer| Descriptor::new(Compression::media_type(l.compression), &l.blob, l.blob_size);
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST.to_owned(),
        config: Descriptor::new(CONFIG, document, document_size),
        layers: layers.iter().map(layer).collect(),
    };
    json(&manifest)
}

/// An index of images, with one entry for each name.
pub(crate) fn index<'a>(images: impl Iterator<Item = (&'a Image, Vec<String>)>) -> Vec<u8> {
    let mut manifests = Vec::new();
    for (image, names) in images {
        let mut descriptor = Descriptor::new(&image.manifest_type, &image.manifest, image.manifest_size);
        descriptor.platform = Some(Platform {
            architecture: image.document.architecture.clone(),
            os: image.document.os.clone(),
            variant: Some(image.document.variant.clone()).filter(|v| !v.is_empty()),
        });
        if names.is_empty() {
            manifests.push(descriptor.clone());
        }
        for name in names {
            let tag = name.rsplit_once(':').map_or("", |(_, tag)| tag).to_owned();
            let annotations = BTreeMap::from([(REF_NAME.to_owned(), tag), (IMAGE_NAME.to_owned(), name)]);
            manifests.push(Descriptor { annotations: Some(annotations), ..descriptor.clone() });
        }
    }
    json(&Index { schema_version: 2, media_type: INDEX.to_owned(), manifests })
}

/// Says that the directory is an image layout.
pub(crate) fn mark(files: &Files) -> Result<()> {
    files.replace("oci-layout", MARKER)
}

/// The layout's documents that are not what they should be, and why.
pub(crate) fn stale(files: &Files, state: &State) -> Vec<(&'static str, &'static str)> {
    let differs = |name: &str, should: &[u8]| std::fs::read(files.images().join(name)).is_ok_and(|is| is != should);
    let mut stale = Vec::new();
    for (name, should) in [("oci-layout", MARKER), ("index.json", &whole_index(state))] {
        if !files.images().join(name).exists() {
            stale.push((name, "it is missing"));
        } else if differs(name, should) {
            stale.push((name, "it does not list what is here"));
        }
    }
    stale
}

/// Brings the index up to date. It is there for other programs and made from the database after every start, so a
/// failure is only logged.
pub(crate) fn update(files: &Files, state: &State) {
    if let Err(e) = files.replace("index.json", &whole_index(state)) {
        tracing::warn!("cannot update {}: {e}", files.images().join("index.json").display());
    }
}

fn whole_index(state: &State) -> Vec<u8> {
    let tags = |image: &Image| -> Vec<String> {
        let names = state.names_of(&image.id);
        names.iter().filter(|name| name.tag().is_some()).map(ToString::to_string).collect()
    };
    index(state.images().map(|image| (&**image, tags(image))))
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("maps with string keys and plain values always encode")
}
