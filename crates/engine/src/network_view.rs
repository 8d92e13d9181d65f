//! A container's place in its network, as list and inspect show it.

use crate::Engine;
use crate::container::Record;
use crate::plan::network::{mode, parse_port};
use gantry_api_types::{EndpointSettings, Port, PortBinding, PortMap};
use gantry_model::Id;
use gantry_network::Proto;
use std::collections::{BTreeMap, BTreeSet};

/// By network name: what was asked for, and while the container runs what it got.
pub(crate) fn endpoints(engine: &Engine, record: &Record) -> BTreeMap<String, EndpointSettings> {
    let mut all = record.networks.clone();
    if !record.state.status.is_live() {
        return all;
    }
    let Some(network) = mode(record).ok().and_then(|mode| mode.network()) else { return all };
    let Some(settings) = all.get_mut(network.name()) else { return all };
    settings.network_id = engine.network_id(network);
    settings.endpoint_id = derived_id(&[&record.id.to_string(), network.name()]);
    if let Some(endpoint) = &record.endpoint {
        settings.endpoint_id = endpoint.id.to_string();
        settings.gateway = endpoint.gateway_v4.map(|ip| ip.to_string()).unwrap_or_default();
        if let Some((ip, prefix_len)) = endpoint.ipv4 {
            settings.ip_address = ip.to_string();
            settings.ip_prefix_len = prefix_len.into();
        }
        settings.mac_address = endpoint.mac.map(|mac| mac.to_string()).unwrap_or_default();
    }
    all
}

/// Inspect's ports: every exposed one, with its bindings if it is published; empty unless it runs.
pub(crate) fn port_map(record: &Record) -> PortMap {
    let Some(ports) = record.published.as_ref().filter(|_| record.state.status.is_live()) else {
        return PortMap::new();
    };
    let mut map: PortMap = exposed(record).into_iter().map(|(port, proto)| (format!("{port}/{proto}"), None)).collect();
    for published in &ports.bindings {
        let key = format!("{}/{}", published.container_port, published.proto);
        map.entry(key)
            .or_default()
            .get_or_insert_default()
            .push(PortBinding { host_ip: published.host_ip.to_string(), host_port: published.host_port.to_string() });
    }
    map
}

/// The list's ports.
pub(crate) fn ports(record: &Record) -> Vec<Port> {
    let Some(ports) = record.published.as_ref().filter(|_| record.state.status.is_live()) else {
        return Vec::new();
    };
    let mut all: Vec<Port> = Vec::new();
    for published in &ports.bindings {
        all.push(Port {
            ip: published.host_ip.to_string(),
            private_port: published.container_port,
            public_port: published.host_port,
            r#type: published.proto.to_string(),
        });
    }
    for (port, proto) in exposed(record) {
        let proto = proto.to_string();
        if !all.iter().any(|have| have.private_port == port && have.r#type == proto) {
            all.push(Port { private_port: port, r#type: proto, ..Port::default() });
        }
    }
    all
}

/// Ports of `ExposedPorts` and `PortBindings`; what is no port was refused or means nothing.
pub(crate) fn exposed(record: &Record) -> BTreeSet<(u16, Proto)> {
    let exposed = record.config.exposed_ports.iter().flatten().map(|(port, _)| port);
    let bound = record.host_config.port_bindings.iter().flatten().map(|(port, _)| port);
    exposed.chain(bound).filter_map(|port| parse_port(port).ok()).collect()
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
