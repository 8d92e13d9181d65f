//! Images.

use super::{Shaped, edited, remove, set};
use crate::version::ApiVersion;
use gantry_api_types::{ImageInspect, ImageSummary};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

/// An entry of the list, also in disk usage, as a version shows it.
///
/// Written field by field: with a thousand images, a JSON tree of each would take longer than everything else.
pub(crate) struct Summary<'a> {
    version: ApiVersion,
    image: &'a ImageSummary,
}

/// The list.
pub(crate) fn summaries(version: ApiVersion, list: &[ImageSummary]) -> Vec<Summary<'_>> {
    list.iter().map(|image| Summary { version, image }).collect()
}

impl Serialize for Summary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { version, image } = self;
        let since = |minor| *version >= ApiVersion::v1(minor);
        let is_empty = |names: &Option<Vec<String>>| names.as_ref().is_none_or(Vec::is_empty);
        let nameless = !since(43) && is_empty(&image.repo_tags) && is_empty(&image.repo_digests);

        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("Containers", &image.containers)?;
        map.serialize_entry("Created", &image.created)?;
        if let Some(descriptor) = image.descriptor.as_ref().filter(|_| since(48)) {
            map.serialize_entry("Descriptor", descriptor)?;
        }
        map.serialize_entry("Id", &image.id)?;
        map.serialize_entry("Labels", &image.labels)?;
        if let Some(manifests) = image.manifests.as_ref().filter(|_| since(47)) {
            map.serialize_entry("Manifests", manifests)?;
        }
        map.serialize_entry("ParentId", &image.parent_id)?;
        if nameless {
            map.serialize_entry("RepoDigests", &["<none>@<none>"])?;
            map.serialize_entry("RepoTags", &["<none>:<none>"])?;
        } else {
            map.serialize_entry("RepoDigests", &image.repo_digests)?;
            map.serialize_entry("RepoTags", &image.repo_tags)?;
        }
        map.serialize_entry("SharedSize", &image.shared_size)?;
        map.serialize_entry("Size", &image.size)?;
        if !since(44) {
            map.serialize_entry("VirtualSize", &image.size)?;
        }
        map.end()
    }
}

/// One image; `committed_from` shows also in later versions what went with 1.45.
pub(crate) fn inspect(version: ApiVersion, inspect: &ImageInspect, committed_from: bool) -> Shaped<'_, ImageInspect> {
    edited(inspect, |json| {
        if version < ApiVersion::v1(48) {
            remove(json, &["Descriptor", "Manifests"]);
        }
        if version >= ApiVersion::v1(45) && !committed_from {
            remove(json, &["Container", "ContainerConfig"]);
        } else {
            // What the image was committed from, and blank when it was not.
            set(json, "Container", inspect.container.as_str());
            let config = serde_json::to_value(inspect.container_config.clone().unwrap_or_default());
            set(json, "ContainerConfig", config.unwrap_or(Value::Null));
        }
        if version < ApiVersion::v1(44) {
            let size = json["Size"].clone();
            set(json, "VirtualSize", size);
            if json.get("Created").is_none() {
                set(json, "Created", "0001-01-01T00:00:00Z");
            }
        }
        if version >= ApiVersion::v1(50) {
            oci_config(&mut json["Config"]);
        }
    })
}

/// Since 1.50 an image's configuration has only what the OCI specification and Docker's extension of
/// it know, and nothing that is empty.
fn oci_config(config: &mut Value) {
    const FIELDS: [&str; 13] = [
        "User",
        "ExposedPorts",
        "Env",
        "Entrypoint",
        "Cmd",
        "Volumes",
        "WorkingDir",
        "Labels",
        "StopSignal",
        "ArgsEscaped",
        "Healthcheck",
        "OnBuild",
        "Shell",
    ];
    if let Some(object) = config.as_object_mut() {
        object.retain(|key, value| FIELDS.contains(&key.as_str()) && !is_blank(value));
    }
}

/// What Go's `omitempty` leaves out.
fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_api_types::ContainerConfig;

    fn json(version: u32) -> Value {
        let config = ContainerConfig { cmd: Some(vec!["sh".into()]), ..ContainerConfig::default() };
        let inspect = ImageInspect { size: 7, config: Some(config), ..ImageInspect::default() };
        serde_json::to_value(super::inspect(ApiVersion::v1(version), &inspect, false)).unwrap()
    }

    #[test]
    fn inspect_by_version() {
        let newest = json(51);
        assert_eq!(newest["Config"], serde_json::json!({"Cmd": ["sh"]}));
        assert!(newest.get("VirtualSize").is_none() && newest.get("ContainerConfig").is_none());
        let old = json(35);
        assert_eq!(old["VirtualSize"], 7);
        assert_eq!(old["Config"]["Hostname"], "");
        assert_eq!(old["ContainerConfig"]["Image"], "");
        assert_eq!(old["Created"], "0001-01-01T00:00:00Z");
        assert!(json(44).get("VirtualSize").is_none());
    }

    #[test]
    fn images_without_a_name() {
        let list = vec![ImageSummary { repo_tags: Some(Vec::new()), ..ImageSummary::default() }];
        let tags =
            |version| serde_json::to_value(summaries(ApiVersion::v1(version), &list)).unwrap()[0]["RepoTags"].clone();
        assert_eq!(tags(42), serde_json::json!(["<none>:<none>"]));
        assert_eq!(tags(43), serde_json::json!([]));
    }

    #[test]
    fn summaries_by_version() {
        let list = vec![ImageSummary {
            descriptor: Some(gantry_api_types::image::Descriptor::default()),
            manifests: Some(Vec::new()),
            size: 7,
            ..ImageSummary::default()
        }];
        let show = |version| serde_json::to_value(summaries(ApiVersion::v1(version), &list)).unwrap()[0].clone();
        assert!(show(48).get("Descriptor").is_some() && show(47).get("Descriptor").is_none());
        assert!(show(47).get("Manifests").is_some() && show(46).get("Manifests").is_none());
        assert!(show(43)["VirtualSize"] == 7 && show(44).get("VirtualSize").is_none());
    }
}
