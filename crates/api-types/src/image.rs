//! Images.

use crate::{config::ContainerConfig, serde_util::is_empty};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One entry of `GET /images/json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields are Docker's, described in the OpenAPI file")]
pub struct ImageSummary {
    /// How many containers use it; -1 when not counted.
    pub containers: i64,
    /// Seconds since the epoch.
    pub created: i64,
    /// With `sha256:`.
    pub id: String,
    pub labels: Option<BTreeMap<String, String>>,
    pub parent_id: String,
    pub repo_digests: Option<Vec<String>>,
    pub repo_tags: Option<Vec<String>>,
    /// Bytes shared with other images; -1 when not computed.
    pub shared_size: i64,
    pub size: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<Descriptor>,
    /// When asked for: what the image's index lists, or its one manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifests: Option<Vec<ManifestSummary>>,
}

impl Default for ImageSummary {
    fn default() -> Self {
        Self {
            containers: -1,
            created: 0,
            id: String::new(),
            labels: None,
            parent_id: String::new(),
            repo_digests: None,
            repo_tags: None,
            shared_size: -1,
            size: 0,
            descriptor: None,
            manifests: None,
        }
    }
}

/// `GET /images/{name}/json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields are Docker's, described in the OpenAPI file")]
pub struct ImageInspect {
    pub id: String,
    pub repo_tags: Vec<String>,
    pub repo_digests: Vec<String>,
    pub parent: String,
    pub comment: String,
    /// RFC 3339; left out when the image does not say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created: String,
    pub docker_version: String,
    pub author: String,
    /// All fields of a container's configuration: clients of API 1.49 and older see them all.
    pub config: Option<ContainerConfig>,
    pub architecture: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
    pub os: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    pub size: i64,
    pub graph_driver: DriverData,
    #[serde(rename = "RootFS")]
    pub root_fs: RootFs,
    pub metadata: ImageMetadata,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<Descriptor>,
    /// When asked for: what the image's index lists, or its one manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifests: Option<Vec<ManifestSummary>>,
    /// The container that the image was committed from; only clients of API 1.44 and older see it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container: String,
    /// Its configuration; for the same clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_config: Option<ContainerConfig>,
}

/// The storage driver and what it says about a thing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[expect(missing_docs, reason = "two plain fields")]
pub struct DriverData {
    pub data: Option<BTreeMap<String, String>>,
    pub name: String,
}

/// An image's layers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RootFs {
    /// Always `layers`.
    pub r#type: String,
    /// Diff ids, lowest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
}

/// What the engine, not the image, knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageMetadata {
    /// RFC 3339; Go's zero time when never tagged here.
    pub last_tag_time: String,
}

/// An OCI descriptor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are OCI's")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: String,
    pub size: i64,
    #[serde(skip_serializing_if = "is_empty")]
    pub urls: Option<Vec<String>>,
    #[serde(skip_serializing_if = "is_empty")]
    pub annotations: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub artifact_type: String,
}

/// An OCI platform.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are OCI's")]
pub struct Platform {
    pub architecture: String,
    pub os: String,
    #[serde(rename = "os.version", skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    #[serde(rename = "os.features", skip_serializing_if = "is_empty")]
    pub os_features: Option<Vec<String>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// One manifest of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ManifestSummary {
    /// Digest of the manifest.
    #[serde(rename = "ID")]
    pub id: String,
    /// As the index has it.
    pub descriptor: Descriptor,
    /// Whether everything below the manifest is here.
    pub available: bool,
    /// What it takes here.
    pub size: ManifestSize,
    /// `image`, `attestation` or `unknown`.
    pub kind: String,
    /// Of the kind `image`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_data: Option<ManifestImageData>,
    /// Of the kind `attestation`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attestation_data: Option<AttestationData>,
}

/// Bytes that a manifest takes here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ManifestSize {
    /// Blobs and what was made of them.
    pub total: i64,
    /// Blobs.
    pub content: i64,
}

/// A manifest that containers can be made from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ManifestImageData {
    /// What it runs on.
    pub platform: Platform,
    /// Ids of the containers made from it.
    pub containers: Vec<String>,
    /// What its layers take.
    pub size: UnpackedSize,
}

/// Bytes of extracted layers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct UnpackedSize {
    /// That many.
    pub unpacked: i64,
}

/// A statement about another manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct AttestationData {
    /// Digest of the other one.
    pub r#for: String,
}

/// One entry of `GET /images/{name}/history`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields are Docker's, described in the OpenAPI file")]
pub struct HistoryItem {
    pub comment: String,
    pub created: i64,
    pub created_by: String,
    /// `<missing>` for layers that are no image of their own.
    pub id: String,
    pub size: i64,
    pub tags: Option<Vec<String>>,
}

/// One entry of the answer to `DELETE /images/{name}`; one of the two is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[expect(missing_docs, reason = "two plain fields")]
pub struct ImageDeleteItem {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub deleted: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub untagged: String,
}

/// The answer to `POST /images/prune`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImagePruneResponse {
    /// `null` when there was nothing to delete.
    pub images_deleted: Option<Vec<ImageDeleteItem>>,
    /// Bytes.
    pub space_reclaimed: u64,
}

/// One entry of `GET /images/search`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are Docker's, described in the OpenAPI file")]
pub struct ImageSearchItem {
    pub star_count: i64,
    pub is_official: bool,
    pub name: String,
    pub is_automated: bool,
    pub description: String,
}
