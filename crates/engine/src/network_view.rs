//! A container's places on networks, as list and inspect show it.

use crate::Engine;
use crate::container::Record;
use crate::plan::network::parse_port;
use gantry_api_types::{EndpointSettings, Port, PortBinding, PortMap};
use gantry_model::Id;
use gantry_network::{Endpoint, Proto};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// By network name: what was asked for, and while the container runs what it got.
pub(crate) fn endpoints(engine: &Engine, record: &Record) -> BTreeMap<String, EndpointSettings> {
    let mut all = record.networks.clone();
    let live = record.state.status.is_live();
    for (name, settings) in &mut all {
        let network = engine.networks.named(name);
        let custom = !matches!(name.as_str(), "bridge" | "host" | "none");
        settings.dns_names = custom.then(|| dns_names(record, settings));
        if let Some(network) = network.filter(|_| !record.state.started_at.is_zero()) {
            settings.network_id = network.id.to_string();
        }
        if !live {
            continue;
        }
        match record.attached.named(name) {
            Some(member) => fill(settings, &member.endpoint),
            None => settings.endpoint_id = derived_id(&[&record.id.to_string(), name]),
        }
    }
    all
}

fn fill(settings: &mut EndpointSettings, endpoint: &Endpoint) {
    let text = |address: Option<IpAddr>| address.map(|ip| ip.to_string()).unwrap_or_default();
    settings.endpoint_id = endpoint.id.to_string();
    settings.gateway = text(endpoint.gateway_v4.map(Into::into));
    settings.ipv6_gateway = text(endpoint.gateway_v6.map(Into::into));
    if let Some((ip, len)) = endpoint.ipv4 {
        (settings.ip_address, settings.ip_prefix_len) = (ip.to_string(), len.into());
    }
    if let Some((ip, len)) = endpoint.ipv6 {
        (settings.global_ipv6_address, settings.global_ipv6_prefix_len) = (ip.to_string(), len.into());
    }
    settings.mac_address = endpoint.mac.map(|mac| mac.to_string()).unwrap_or_default();
}

/// The names that a container has on a network of its client's.
pub(crate) fn dns_names(record: &Record, settings: &EndpointSettings) -> Vec<String> {
    let mut names = vec![record.name.clone()];
    names.extend(settings.aliases.iter().flatten().cloned());
    names.extend([record.id.short(), record.config.hostname.clone()]);
    let mut seen = BTreeSet::new();
    names.retain(|name| !name.is_empty() && seen.insert(name.clone()));
    names
}

/// The published ports of a container that runs, as far as they lead anywhere, and those that a plugin has published.
fn published(record: &Record) -> Option<impl Iterator<Item = &gantry_network::PortBinding>> {
    let live = record.state.status.is_live() && !record.attached.members.is_empty();
    let by_plugins = record.attached.members.iter().filter_map(|member| member.plugged.as_ref());
    let by_plugins = by_plugins.flat_map(|plugged| &plugged.ports);
    let published = live.then_some(record.attached.published.as_ref());
    published.map(|ports| {
        let ours = ports.into_iter();
        let ours = ours.flat_map(|ports| ports.bindings.iter().filter(|binding| ports.target(binding).is_some()));
        ours.chain(by_plugins)
    })
}

/// Inspect's ports: every exposed one, with its bindings if it is published; empty unless it runs.
pub(crate) fn port_map(record: &Record) -> PortMap {
    let Some(published) = published(record) else { return PortMap::new() };
    let mut map: PortMap = exposed(record).into_iter().map(|(port, proto)| (format!("{port}/{proto}"), None)).collect();
    for binding in published {
        let key = format!("{}/{}", binding.container_port, binding.proto);
        map.entry(key)
            .or_default()
            .get_or_insert_default()
            .push(PortBinding { host_ip: binding.host_ip.to_string(), host_port: binding.host_port.to_string() });
    }
    map
}

/// The list's ports.
pub(crate) fn ports(record: &Record) -> Vec<Port> {
    let Some(published) = published(record) else { return Vec::new() };
    let mut all: Vec<Port> = published
        .map(|binding| Port {
            ip: binding.host_ip.to_string(),
            private_port: binding.container_port,
            public_port: binding.host_port,
            r#type: binding.proto.to_string(),
        })
        .collect();
    for (port, proto) in exposed(record) {
        let proto = proto.to_string();
        if !all.iter().any(|have| have.private_port == port && have.r#type == proto) {
            all.push(Port { private_port: port, r#type: proto, ..Port::default() });
        }
    }
    all
}

/// The ports of `ExposedPorts`; what is no port was refused or means nothing.
pub(crate) fn exposed(record: &Record) -> BTreeSet<(u16, Proto)> {
    let exposed = record.config.exposed_ports.iter().flatten();
    exposed.filter_map(|(port, _)| parse_port(port).ok()).collect()
}

/// 64 hex digits that follow from the parts: four rounds of FNV-1a with different beginnings. Ids
/// need to differ, not to resist anybody.
pub(crate) fn derived_id(parts: &[&str]) -> String {
    let mut bytes = [0u8; 32];
    for (round, chunk) in bytes.chunks_exact_mut(8).enumerate() {
        let mut hash = 0xcbf2_9ce4_8422_2325u64 ^ (round as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for byte in parts.iter().flat_map(|part| part.bytes().chain([0])) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        // FNV's last bytes barely reach the upper bits.
        hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        chunk.copy_from_slice(&(hash ^ (hash >> 32)).to_be_bytes());
    }
    Id::from_bytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::derived_id;

    #[test]
    fn ids_are_stable_and_differ() {
        let id = derived_id(&["container", "bridge"]);
        assert_eq!(id, derived_id(&["container", "bridge"]));
        assert_eq!(id.len(), 64);
        for other in [["container", "host"], ["containe", "rbridge"], ["container2", "bridge"]] {
            assert_ne!(id[..12], derived_id(&other)[..12]);
        }
    }
}
