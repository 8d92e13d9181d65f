//! Real answers of the reference engine (dockerd 20.10, API 1.41) pass through the wire types and keep
//! every field, null and empty value, except where the newest version differs, which is listed here.

use gantry_api_types as api;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Fields that 1.51 no longer has, or leaves out when they are empty.
const GONE: &[&str] = &[
    "AllowNondistributableArtifactsCIDRs",
    "AllowNondistributableArtifactsHostnames",
    "BridgeNfIp6tables",
    "BridgeNfIptables",
    "BuildCache",
    "BuilderSize",
    "Container",
    "ContainerConfig",
    "Error",
    "Expected",
    "KernelMemory",
    "KernelMemoryTCP",
    "VirtualSize",
];

/// Fields that came after 1.41 and are always there.
const NEW: &[&str] = &["CDISpecDirs", "DNSNames", "EnableIPv4", "GwPriority"];

fn compare(path: &str, theirs: &Value, ours: &Value) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for (key, value) in theirs {
                match ours.get(key) {
                    Some(own) => compare(&format!("{path}.{key}"), value, own),
                    None => assert!(GONE.contains(&key.as_str()), "{path}.{key} is lost: {value}"),
                }
            }
            for (key, value) in ours {
                let known = theirs.contains_key(key) || NEW.contains(&key.as_str());
                assert!(known, "{path}.{key} is new: {value}");
            }
        }
        (Value::Array(theirs), Value::Array(ours)) if theirs.len() == ours.len() => {
            for (index, (value, own)) in theirs.iter().zip(ours).enumerate() {
                compare(&format!("{path}[{index}]"), value, own);
            }
        }
        _ => assert_eq!(theirs, ours, "{path}"),
    }
}

fn round_trip<T: Serialize + DeserializeOwned>(name: &str, text: &str) {
    let theirs: Value = serde_json::from_str(text).unwrap();
    let typed: T = serde_json::from_value(theirs.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
    compare(name, &theirs, &serde_json::to_value(&typed).unwrap());
}

macro_rules! fixtures {
    ($($test:ident: $file:literal as $type:ty;)*) => {$(
        #[test]
        fn $test() {
            round_trip::<$type>($file, include_str!(concat!("fixtures/", $file, ".json")));
        }
    )*};
}

fixtures! {
    changes: "changes" as Vec<api::ChangeItem>;
    container_inspect: "container-inspect" as api::ContainerInspect;
    container_inspect_created: "container-inspect-created" as api::ContainerInspect;
    containers: "containers" as Vec<api::ContainerSummary>;
    containers_size: "containers-size" as Vec<api::ContainerSummary>;
    disk_usage: "disk-usage" as api::DiskUsage;
    events: "events" as Vec<api::EventMessage>;
    exec_inspect: "exec-inspect" as api::ExecInspect;
    image_history: "image-history" as Vec<api::HistoryItem>;
    image_inspect: "image-inspect" as api::ImageInspect;
    images: "images" as Vec<api::ImageSummary>;
    info: "info" as api::SystemInfo;
    network: "network" as api::Network;
    networks: "networks" as Vec<api::Network>;
    top: "top" as api::ContainerTopResponse;
    version: "version" as api::SystemVersion;
    volume: "volume" as api::Volume;
    volumes: "volumes" as api::VolumeListResponse;
    wait: "wait" as api::ContainerWaitResponse;
}
