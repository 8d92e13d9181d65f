//! Containers.

use super::{Each, Shaped, edited, members, remove, set};
use crate::version::ApiVersion;
use gantry_api_types::{ContainerInspect, ContainerSummary, ContainerWaitResponse};
use serde::Serialize;
use serde_json::Value;

/// The list.
pub(crate) fn summaries(version: ApiVersion, list: &[ContainerSummary]) -> impl Serialize {
    let edit = move |summary: &mut Value| {
        remove(summary, &["ImageManifestDescriptor"]);
        if version < ApiVersion::v1(46) {
            remove(&mut summary["HostConfig"], &["Annotations"]);
        }
        endpoints(version, &mut summary["NetworkSettings"]["Networks"]);
    };
    Each { list, edit: (version < ApiVersion::v1(48)).then_some(edit) }
}

/// One container.
pub(crate) fn inspect(version: ApiVersion, inspect: &ContainerInspect) -> Shaped<'_, ContainerInspect> {
    if version >= ApiVersion::v1(48) {
        return Shaped::AsIs(inspect);
    }
    edited(inspect, |json| {
        remove(json, &["ImageManifestDescriptor"]);
        let host = &mut json["HostConfig"];
        for (since, field) in [(40, "DeviceRequests"), (41, "CgroupnsMode"), (43, "Annotations")] {
            if version < ApiVersion::v1(since) {
                remove(host, &[field]);
            }
        }
        if version < ApiVersion::v1(38) {
            remove(host, &["MaskedPaths", "ReadonlyPaths"]);
        }
        if version < ApiVersion::v1(42) {
            // The newest form leaves them out when they are 0.
            let known: &[&str] =
                if version < ApiVersion::v1(40) { &["KernelMemory"] } else { &["KernelMemory", "KernelMemoryTCP"] };
            for field in known {
                if host.get(field).is_none() {
                    set(host, field, 0);
                }
            }
        }
        if version < ApiVersion::v1(44) && json["Config"]["Healthcheck"].is_object() {
            remove(&mut json["Config"]["Healthcheck"], &["StartInterval"]);
        }
        let own = own_names(json);
        endpoints(version, &mut json["NetworkSettings"]["Networks"]);
        if version < ApiVersion::v1(45) {
            add_own_names(&mut json["NetworkSettings"]["Networks"], &own);
        }
    })
}

/// The end of a wait. Until API 1.29 there was nothing but the status.
pub(crate) fn wait(version: ApiVersion, mut end: ContainerWaitResponse) -> ContainerWaitResponse {
    if version < ApiVersion::v1(30) {
        end.error = None;
    }
    end
}

/// The short id and the host name.
fn own_names(inspect: &Value) -> Vec<Value> {
    let id = inspect["Id"].as_str().unwrap_or_default();
    vec![id.get(..12).unwrap_or(id).into(), inspect["Config"]["Hostname"].clone()]
}

/// Until API 1.44 they were among the aliases on networks that a client had made.
fn add_own_names(networks: &mut Value, own: &[Value]) {
    let all = networks.as_object_mut().into_iter().flatten();
    for (_, endpoint) in all.filter(|(name, _)| !matches!(name.as_str(), "bridge" | "host" | "none")) {
        let mut aliases = endpoint["Aliases"].as_array().cloned().unwrap_or_default();
        for name in own {
            if !aliases.contains(name) {
                aliases.push(name.clone());
            }
        }
        set(endpoint, "Aliases", aliases);
    }
}

/// `DNSNames` came with 1.44, `GwPriority` with 1.48.
fn endpoints(version: ApiVersion, networks: &mut Value) {
    for endpoint in members(networks) {
        remove(endpoint, &["GwPriority"]);
        if version < ApiVersion::v1(44) {
            remove(endpoint, &["DNSNames"]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_api_types::EndpointSettings;

    fn json(version: u32) -> Value {
        let mut inspect = ContainerInspect::default();
        inspect.network_settings.networks.insert("bridge".into(), EndpointSettings::default());
        serde_json::to_value(super::inspect(ApiVersion::v1(version), &inspect)).unwrap()
    }

    #[test]
    fn fields_come_with_their_versions() {
        let endpoint = |version: u32| json(version)["NetworkSettings"]["Networks"]["bridge"].clone();
        assert!(endpoint(51).get("GwPriority").is_some());
        assert!(endpoint(47).get("GwPriority").is_none());
        assert!(endpoint(44).get("DNSNames").is_some());
        assert!(endpoint(43).get("DNSNames").is_none());
        assert!(json(41)["HostConfig"].get("CgroupnsMode").is_some());
        assert!(json(35)["HostConfig"].get("CgroupnsMode").is_none());
        assert!(json(35)["HostConfig"].get("DeviceRequests").is_none());
    }
}
