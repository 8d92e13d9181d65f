//! The manifest that is pushed.

use super::layers::Sent;
use gantry_image_store::StoredManifest;
use gantry_model::{Error, Result};
use serde_json::Value;

const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const OCI_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Media type and bytes. The stored manifest, to the byte, if its layers are pushed as they are stored: digests survive
/// that way. If layers were compressed for the way, it is another manifest anyhow, and becomes one of Docker's kind,
/// as dockerd makes them: older registries know no other. zstd has no name there, so such an image stays OCI's.
pub(super) fn with_layers(stored: &StoredManifest, sent: &[Sent]) -> Result<(String, Vec<u8>)> {
    if sent.iter().zip(&stored.layers).all(|(sent, layer)| sent.digest == layer.digest) {
        return Ok((stored.media_type.clone(), stored.bytes.clone()));
    }
    let invalid = |e| Error::internal(format!("the stored manifest is not valid: {e}"));
    let mut manifest: Value = serde_json::from_slice(&stored.bytes).map_err(invalid)?;
    let entries = manifest.get_mut("layers").and_then(Value::as_array_mut);
    let entries = entries.ok_or_else(|| Error::internal("the stored manifest has no layers"))?;
    for (entry, sent) in entries.iter_mut().zip(sent).filter(|(entry, sent)| entry["digest"] != sent.digest.as_str()) {
        entry["mediaType"] = OCI_GZIP.into();
        entry["digest"] = sent.digest.as_str().into();
        entry["size"] = sent.size.into();
    }
    let gzip = |entry: &Value| entry["mediaType"].as_str().is_some_and(|t| t == OCI_GZIP || t == DOCKER_LAYER);
    let media_type = if entries.iter().all(gzip) {
        for entry in entries {
            entry["mediaType"] = DOCKER_LAYER.into();
        }
        manifest["config"]["mediaType"] = DOCKER_CONFIG.into();
        manifest["mediaType"] = DOCKER.into();
        DOCKER.to_owned()
    } else {
        stored.media_type.clone()
    };
    Ok((media_type, serde_json::to_vec(&manifest).map_err(invalid)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_image_store::ManifestBlob;
    use gantry_model::Digest;

    #[test]
    fn only_what_was_compressed_changes() {
        let digest = |n: u8| Digest::sha256([n; 32]);
        let layer = |n: u8, kind: &str| {
            let media_type = format!("application/vnd.oci.image.layer.v1.{kind}");
            ManifestBlob { digest: digest(n), size: 10, media_type, urls: Vec::new() }
        };
        let layers = vec![layer(1, "tar+zstd"), layer(2, "tar")];
        let entry = |l: &ManifestBlob| serde_json::json!({"mediaType": l.media_type, "digest": l.digest, "size": l.size, "annotations": {"a": "b"}});
        let text = serde_json::json!({"schemaVersion": 2, "config": {}, "layers": layers.iter().map(entry).collect::<Vec<_>>()});
        let bytes = format!(" {text}").into_bytes();
        let config = layer(3, "x");
        let media_type = "application/vnd.oci.image.manifest.v1+json".to_owned();
        let stored = StoredManifest { media_type, digest: digest(9), bytes, config, layers, index: None };
        let sent = |n: u8, size| Sent { digest: digest(n), size };

        assert_eq!(with_layers(&stored, &[sent(1, 10), sent(2, 10)]).unwrap().1, stored.bytes);
        let (media_type, changed) = with_layers(&stored, &[sent(1, 10), sent(4, 5)]).unwrap();
        let changed: Value = serde_json::from_slice(&changed).unwrap();
        assert_eq!(media_type, stored.media_type);
        assert_eq!(changed["layers"][0], text["layers"][0]);
        assert_eq!(changed["layers"][1]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
        assert_eq!(changed["layers"][1]["digest"], digest(4).as_str());
        assert_eq!(
            (&changed["layers"][1]["size"], &changed["layers"][1]["annotations"]["a"]),
            (&5.into(), &"b".into())
        );
    }
}
