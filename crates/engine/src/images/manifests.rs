//! What an image's index lists, or its one manifest.

use super::view::{manifest_descriptor, signed};
use super::{Images, platform};
use gantry_api_types::image::{
    AttestationData, Descriptor, ManifestImageData, ManifestSize, ManifestSummary, Platform, UnpackedSize,
};
use gantry_image_store::Image;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What says that a manifest is a statement about another one, and about which.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

impl Images<'_> {
    /// The manifests of an image that these containers were made from. Of an index only the image's own manifest is
    /// here; what else it lists can be pulled by its digest.
    pub(super) fn manifests(self, image: &Image, users: &[String]) -> Vec<ManifestSummary> {
        let own = own(image, users);
        let index = self.engine.images.index_text(image).unwrap_or_else(|e| {
            tracing::warn!("the index of image {}: {e}", image.id);
            None
        });
        let Some(index) = index else { return vec![own] };
        let listed = serde_json::from_slice::<Index>(&index).map(|index| index.manifests).unwrap_or_default();
        if !listed.iter().any(|descriptor| descriptor.digest == own.id) {
            return vec![own];
        }
        let summary = |descriptor: Descriptor| {
            if descriptor.digest == own.id { ManifestSummary { descriptor, ..own.clone() } } else { absent(descriptor) }
        };
        listed.into_iter().map(summary).collect()
    }
}

/// The manifest that the image was made from.
fn own(image: &Image, users: &[String]) -> ManifestSummary {
    let blobs = image.layers.iter().map(|layer| layer.blob_size).sum::<u64>();
    let content = signed(blobs + image.manifest_size + image.document_size);
    let unpacked = signed(image.size);
    let platform = platform::of(image);
    let platform = Platform {
        architecture: platform.architecture,
        os: platform.os,
        os_version: image.document.os_version.clone(),
        os_features: None,
        variant: platform.variant,
    };
    ManifestSummary {
        id: image.manifest.to_string(),
        descriptor: Descriptor { platform: Some(platform.clone()), ..manifest_descriptor(image) },
        available: true,
        size: ManifestSize { total: content.saturating_add(unpacked), content },
        kind: "image".to_owned(),
        image_data: Some(ManifestImageData { platform, containers: users.to_vec(), size: UnpackedSize { unpacked } }),
        attestation_data: None,
    }
}

/// A manifest that was not fetched.
fn absent(descriptor: Descriptor) -> ManifestSummary {
    let annotation = |key: &str| {
        let annotations: Option<&BTreeMap<String, String>> = descriptor.annotations.as_ref();
        annotations.and_then(|all| all.get(key)).cloned()
    };
    let attestation = annotation(REFERENCE_TYPE).is_some_and(|kind| kind == "attestation-manifest");
    let mut summary = ManifestSummary { id: descriptor.digest.clone(), ..ManifestSummary::default() };
    if attestation {
        "attestation".clone_into(&mut summary.kind);
        summary.attestation_data = Some(AttestationData { r#for: annotation(REFERENCE_DIGEST).unwrap_or_default() });
    } else {
        "image".clone_into(&mut summary.kind);
        let platform = descriptor.platform.clone().unwrap_or_default();
        summary.image_data = Some(ManifestImageData { platform, ..ManifestImageData::default() });
    }
    ManifestSummary { descriptor, ..summary }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_fetched() {
        let image: Descriptor =
            serde_json::from_str(r#"{"digest": "sha256:a", "platform": {"os": "linux", "architecture": "s390x"}}"#)
                .unwrap();
        let image = absent(image);
        assert!(!image.available && image.size == ManifestSize::default());
        assert_eq!((image.kind.as_str(), image.image_data.unwrap().platform.architecture.as_str()), ("image", "s390x"));
        let statement: Descriptor = serde_json::from_str(
            r#"{"digest": "sha256:b", "annotations": {"vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": "sha256:a"}}"#,
        )
        .unwrap();
        let statement = absent(statement);
        assert_eq!(statement.kind, "attestation");
        assert_eq!(statement.attestation_data.unwrap().r#for, "sha256:a");
    }
}
