//! What a document of a registry is.
//!
//! The answer's media type decides. Documents that could be read as something else too are refused: two programs would
//! see two images under one digest.

use gantry_model::{Error, Result};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The kinds of documents that images are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::images) enum Kind {
    /// One image.
    Manifest,
    /// Images for several platforms.
    Index,
}

const MANIFESTS: &[&str] =
    &["application/vnd.docker.distribution.manifest.v2+json", "application/vnd.oci.image.manifest.v1+json"];
const INDEXES: &[&str] =
    &["application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.oci.image.index.v1+json"];
/// What images' configurations are called. The first two are right; the others are what old registries and builders
/// made of them.
const CONFIGS: &[&str] = &[
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/octet-stream",
    "application/json",
    "text/html",
    "",
];

/// What layers are called, before what says how they are compressed.
const LAYERS: &[&str] = &[
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
];
const SUFFIXES: &[&str] = &["", ".gzip", ".zstd", "+gzip", "+zstd", "+bzip2", "+xz"];

/// The parts of a document that tell what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<serde_json::Value>,
    media_type: Option<String>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    manifests: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

/// The media type and the kind of a document that came with `content_type`.
pub(in crate::images) fn classify(content_type: &str, bytes: &[u8]) -> Result<(String, Kind)> {
    let shape: Shape =
        serde_json::from_slice(bytes).map_err(|_| Error::invalid("the registry's manifest is not a JSON object"))?;
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let stated = shape.media_type.clone().unwrap_or_default();
    let media_type = match essence.as_str() {
        "" | "application/json" | "text/plain" | "application/octet-stream" => stated.clone(),
        _ => essence,
    };
    if is_schema_1(&media_type) || shape.fs_layers.is_some() || shape.schema_version.as_ref().is_some_and(|v| v == 1) {
        return Err(Error::invalid(
            "the image has a manifest of version 2, schema 1, which is not supported any more: push it again with a \
             current tool",
        ));
    }
    if shape.schema_version.as_ref().is_some_and(|version| version != 2) {
        return Err(Error::invalid("unsupported manifest schema version"));
    }
    let kind = if MANIFESTS.contains(&media_type.as_str()) {
        Kind::Manifest
    } else if INDEXES.contains(&media_type.as_str()) {
        Kind::Index
    } else {
        return Err(Error::invalid(format!("unsupported manifest media type {media_type:?}")));
    };
    let fits = match kind {
        Kind::Manifest => shape.manifests.is_none() && shape.config.is_some(),
        Kind::Index => shape.config.is_none() && shape.layers.is_none(),
    };
    if !fits || (!stated.is_empty() && stated != media_type) {
        return Err(Error::invalid(format!("the registry's document is not what its media type {media_type:?} says")));
    }
    Ok((media_type, kind))
}

/// Refuses what is in a registry's repository but no image: charts, plugins, signatures.
pub(super) fn check_config(media_type: &str) -> Result<()> {
    if CONFIGS.contains(&media_type) {
        return Ok(());
    }
    let class = if media_type == "application/vnd.docker.plugin.v1+json" { "plugin" } else { "unknown" };
    Err(Error::invalid(format!("Encountered remote {media_type:?}({class}) when fetching")))
}

/// Refuses layers that no image has: encrypted ones, or files of other kinds.
pub(super) fn check_layer(media_type: &str) -> Result<()> {
    let known = LAYERS.iter().any(|family| media_type.strip_prefix(family).is_some_and(|c| SUFFIXES.contains(&c)));
    // Old builders left the type out.
    if known || media_type.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!("unsupported layer media type {media_type:?}")))
}

fn is_schema_1(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.docker.distribution.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v1+prettyjws"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
    const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

    #[test]
    fn kinds() {
        let kind = |content_type: &str, text: &str| classify(content_type, text.as_bytes());
        assert_eq!(kind(DOCKER, r#"{"config":{},"layers":[]}"#).unwrap(), (DOCKER.to_owned(), Kind::Manifest));
        assert_eq!(kind(LIST, r#"{"manifests":[]}"#).unwrap().1, Kind::Index);
        let stated = format!(r#"{{"mediaType":"{OCI}","config":{{}},"layers":[]}}"#);
        assert_eq!(kind("application/json; charset=utf-8", &stated).unwrap(), (OCI.to_owned(), Kind::Manifest));
    }

    #[test]
    fn refusals() {
        let error = |content_type: &str, text: &str| classify(content_type, text.as_bytes()).unwrap_err().to_string();
        for text in [r#"{"config":{},"layers":[],"manifests":[]}"#, r#"{"manifests":[]}"#, "{}"] {
            assert!(error(DOCKER, text).contains("not what its media type"), "{text}");
        }
        let other = format!(r#"{{"mediaType":"{OCI}","config":{{}}}}"#);
        assert!(error(DOCKER, &other).contains("not what its media type"));
        assert!(error("application/json", r#"{"fsLayers":[]}"#).contains("schema 1"));
        assert!(error("application/vnd.docker.distribution.manifest.v1+prettyjws", "{}").contains("schema 1"));
        assert_eq!(error("image/png", "{}"), "unsupported manifest media type \"image/png\"");
        assert!(error(DOCKER, "[]").contains("not a JSON object"));
        assert!(error(DOCKER, r#"{"schemaVersion":3,"config":{}}"#).contains("schema version"));
        assert!(error(DOCKER, r#"{"schemaVersion":1}"#).contains("schema 1"));
        let layer = |text: &str| check_layer(text).is_ok();
        assert!(layer("application/vnd.docker.image.rootfs.diff.tar.gzip") && layer(""));
        assert!(
            layer("application/vnd.oci.image.layer.v1.tar+zstd") && layer("application/vnd.oci.image.layer.v1.tar")
        );
        assert!(!layer("application/vnd.oci.image.layer.v1.tar+gzip+encrypted") && !layer("text/plain"));
        let helm = "application/vnd.cncf.helm.config.v1+json";
        let refused = check_config(helm).unwrap_err().to_string();
        assert_eq!(refused, format!("Encountered remote \"{helm}\"(unknown) when fetching"));
    }
}
