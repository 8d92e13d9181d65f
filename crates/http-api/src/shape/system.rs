//! Information about the engine.

use super::{Shaped, container, edited, image, items, members, remove, set, volume};
use crate::version::ApiVersion;
use gantry_api_types::{BuildCache, ContainerSummary, DiskUsage, SystemInfo, Volume};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// Facts about the host that only older versions show.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BridgeFilter {
    pub(crate) ipv4: bool,
    pub(crate) ipv6: bool,
}

/// `GET /info`.
pub(crate) fn info(version: ApiVersion, info: &SystemInfo, bridge: BridgeFilter) -> Shaped<'_, SystemInfo> {
    if version >= ApiVersion::v1(50) {
        return Shaped::AsIs(info);
    }
    let before = |minor| version < ApiVersion::v1(minor);
    edited(info, |json| {
        remove(json, &["DiscoveredDevices"]);
        set(json, "BridgeNfIptables", bridge.ipv4);
        set(json, "BridgeNfIp6tables", bridge.ipv6);
        if before(49) {
            remove(json, &["FirewallBackend"]);
            for commit in ["ContainerdCommit", "RuncCommit", "InitCommit"] {
                let id = json[commit]["ID"].clone();
                set(&mut json[commit], "Expected", id);
            }
            set(&mut json["RegistryConfig"], "AllowNondistributableArtifactsCIDRs", json!([]));
            set(&mut json["RegistryConfig"], "AllowNondistributableArtifactsHostnames", json!([]));
        }
        if before(46) {
            members(&mut json["Runtimes"]).for_each(|runtime| remove(runtime, &["status"]));
        }
        if before(44) {
            remove(json, &["CDISpecDirs"]);
        }
        if before(41) {
            remove(json, &["CgroupVersion", "DefaultAddressPools", "OSVersion"]);
        }
        if before(40) {
            remove(json, &["PidsLimit"]);
        }
        if before(39) {
            remove(json, &["Warnings"]);
        }
        if before(25) {
            set(json, "ExecutionDriver", "<not supported>");
            items(&mut json["SecurityOptions"]).for_each(bare_name);
        }
    })
}

/// `name=seccomp,profile=default` was `seccomp`.
fn bare_name(option: &mut Value) {
    let name = option.as_str().and_then(|text| text.split(',').find_map(|part| part.strip_prefix("name=")));
    if let Some(name) = name {
        *option = Value::from(name);
    }
}

/// `GET /system/df`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DiskUsageView<'a> {
    layers_size: i64,
    images: Option<Vec<image::Summary<'a>>>,
    containers: Option<Containers<'a>>,
    volumes: Option<Vec<Volume>>,
    /// Since 1.39.
    #[serde(skip_serializing_if = "Option::is_none")]
    build_cache: Option<CacheRecords>,
    /// Of the build cache; since 1.42 each of its records has a size.
    #[serde(skip_serializing_if = "Option::is_none")]
    builder_size: Option<i64>,
}

/// `null` where a client did not ask for them.
#[derive(Serialize)]
struct CacheRecords(Option<Vec<BuildCache>>);

/// The containers, as the list of a version shows them.
struct Containers<'a> {
    version: ApiVersion,
    list: &'a [ContainerSummary],
}

impl Serialize for Containers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        container::summaries(self.version, self.list).serialize(serializer)
    }
}

/// Disk usage as a version shows it.
pub(crate) fn disk_usage(version: ApiVersion, usage: &DiskUsage) -> DiskUsageView<'_> {
    DiskUsageView {
        layers_size: usage.layers_size,
        images: usage.images.as_deref().map(|images| image::summaries(version, images)),
        containers: usage.containers.as_deref().map(|list| Containers { version, list }),
        volumes: usage.volumes.as_deref().map(|list| volume::all(version, list)),
        build_cache: (version >= ApiVersion::v1(39)).then(|| build_cache(version, usage.build_cache.clone())),
        builder_size: (version < ApiVersion::v1(42))
            .then(|| usage.build_cache.iter().flatten().map(|record| record.size).sum()),
    }
}

/// Before 1.42 a record had one parent.
fn build_cache(version: ApiVersion, mut records: Option<Vec<BuildCache>>) -> CacheRecords {
    if version < ApiVersion::v1(42) {
        for record in records.iter_mut().flatten() {
            let parents = record.parents.take();
            record.parent = parents.into_iter().flatten().next().unwrap_or_default();
        }
    }
    CacheRecords(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_of_old_versions() {
        let mut source =
            SystemInfo { security_options: vec!["name=seccomp,profile=default".into()], ..SystemInfo::default() };
        source.runc_commit.id = "x".into();
        let show = |minor| serde_json::to_value(info(ApiVersion::v1(minor), &source, BridgeFilter::default())).unwrap();
        assert!(show(51).get("BridgeNfIptables").is_none());
        assert_eq!(show(35)["RuncCommit"], json!({"ID": "x", "Expected": "x"}));
        assert_eq!(show(24)["SecurityOptions"], json!(["seccomp"]));
        assert!(show(40).get("CgroupVersion").is_none());
        assert!(show(39).get("Warnings").is_some() && show(35).get("Warnings").is_none());
    }
}
