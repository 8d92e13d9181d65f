//! Images.

use super::{Shaped, edited, items, remove, set};
use crate::version::ApiVersion;
use gantry_api_types::{ContainerConfig, ImageInspect, ImageSummary};
use serde_json::Value;

/// The list.
pub(crate) fn summaries(version: ApiVersion, list: &Vec<ImageSummary>) -> Shaped<'_, Vec<ImageSummary>> {
    if version >= ApiVersion::v1(48) {
        return Shaped::AsIs(list);
    }
    edited(list, |json| items(json).for_each(|summary| self::summary(version, summary)))
}

/// One entry of the list, also in disk usage.
pub(super) fn summary(version: ApiVersion, summary: &mut Value) {
    remove(summary, &["Descriptor"]);
    if version < ApiVersion::v1(44) {
        let size = summary["Size"].clone();
        set(summary, "VirtualSize", size);
    }
    let is_empty = |value: &Value| value.as_array().is_none_or(Vec::is_empty);
    if version < ApiVersion::v1(43) && is_empty(&summary["RepoTags"]) && is_empty(&summary["RepoDigests"]) {
        set(summary, "RepoTags", vec!["<none>:<none>"]);
        set(summary, "RepoDigests", vec!["<none>@<none>"]);
    }
}

/// One image.
pub(crate) fn inspect(version: ApiVersion, inspect: &ImageInspect) -> Shaped<'_, ImageInspect> {
    edited(inspect, |json| {
        if version < ApiVersion::v1(48) {
            remove(json, &["Descriptor"]);
        }
        if version < ApiVersion::v1(45) {
            // What the image was committed from; nothing is any more.
            set(json, "Container", "");
            let empty = serde_json::to_value(ContainerConfig::default()).unwrap_or(Value::Null);
            set(json, "ContainerConfig", empty);
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

    fn json(version: u32) -> Value {
        let config = ContainerConfig { cmd: Some(vec!["sh".into()]), ..ContainerConfig::default() };
        let inspect = ImageInspect { size: 7, config: Some(config), ..ImageInspect::default() };
        serde_json::to_value(super::inspect(ApiVersion::v1(version), &inspect)).unwrap()
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
}
