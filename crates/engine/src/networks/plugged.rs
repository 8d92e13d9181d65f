//! Networks of plugins.
//!
//! A plugin's network has its subnets and addresses in the network room like any other, but nothing in the kernel: its
//! interfaces come from the plugin. The plugin hears of an endpoint and of its use when the place is reserved, before
//! there is a network namespace, and the end of both when it is given back.

use super::ipam::cidr;
use super::members::{Member, Plugged, StaticRoute};
use super::record::Network;
use super::way_out;
use crate::container::Record;
use crate::{Engine, NO_SWARM};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_api_types::EndpointSettings;
use gantry_model::{Error, Result};
use gantry_network::{Endpoint, NetworkSpec};
use gantry_plugins::network::{
    CreateNetwork, EndpointId, Interface, InterfaceName, IpamData, Joined, NetworkDriver, Options,
};
use gantry_plugins::{Kind, Patience, Plugin};
use serde_json::json;
use std::net::IpAddr;

/// Where the options are that the client gave.
const GENERIC: &str = "com.docker.network.generic";
const IPV6: &str = "com.docker.network.enable_ipv6";
const INTERNAL: &str = "com.docker.network.internal";
/// The hardware address that a client wants.
const MAC_ADDRESS: &str = "com.docker.network.endpoint.macaddress";
/// The longest name of an interface.
const MAX_NAME: usize = 15;

pub(super) fn plugin(engine: &Engine, name: &str, kind: Kind) -> Result<Plugin> {
    Ok(engine.handle.block_on(engine.plugins.get(name, kind, Patience::Long))?)
}

/// The plugin that makes networks of this driver.
pub(super) fn driver(engine: &Engine, name: &str) -> Result<NetworkDriver> {
    plugin(engine, name, Kind::Network).map(NetworkDriver)
}

/// Whether the plugin is there, and makes networks that can be without a swarm.
pub(super) fn check(engine: &Engine, name: &str) -> Result<()> {
    let driver = driver(engine, name)?;
    let capability = engine.handle.block_on(driver.capability())?;
    if capability.scope == "global" { Err(Error::unavailable(NO_SWARM)) } else { Ok(()) }
}

/// Has the plugin make a network.
pub(super) fn create(engine: &Engine, name: &str, network: &Network, spec: &NetworkSpec) -> Result<()> {
    let driver = driver(engine, name)?;
    let pools = |ipv4: bool| {
        let subnets = spec.subnets.iter().filter(|s| s.subnet.is_ipv4() == ipv4);
        let bits = |s: &gantry_network::SubnetSpec| s.subnet.prefix_len();
        let data = subnets.map(|s| IpamData {
            address_space: network
                .plugin_pools
                .iter()
                .find(|pool| pool.subnet == s.subnet)
                .map_or_else(|| "LocalDefault".to_owned(), |pool| pool.space.clone()),
            pool: s.subnet.to_string(),
            gateway: s.gateway.map(|ip| format!("{ip}/{}", bits(s))).unwrap_or_default(),
            aux_addresses: s.aux.iter().map(|(name, ip)| (name.clone(), format!("{ip}/{}", bits(s)))).collect(),
        });
        data.collect()
    };
    let mut options = Options::new();
    options.insert(GENERIC.to_owned(), json!(network.options));
    options.insert(IPV6.to_owned(), json!(network.ipv6));
    if network.internal {
        options.insert(INTERNAL.to_owned(), json!(true));
    }
    let id = network.id.to_string();
    let request = CreateNetwork { network: &id, options, ipv4: pools(true), ipv6: pools(false) };
    Ok(engine.handle.block_on(driver.create_network(&request))?)
}

/// Has the plugin remove it.
pub(super) fn delete(engine: &Engine, name: &str, network: &Network) -> Result<()> {
    let driver = driver(engine, name)?;
    Ok(engine.handle.block_on(driver.delete_network(&network.id.to_string()))?)
}

/// Has the plugin make an endpoint and join it; what it decides goes into `endpoint`.
pub(super) fn join(
    engine: &Engine,
    name: &str,
    record: &Record,
    settings: &EndpointSettings,
    internal: bool,
    endpoint: &mut Endpoint,
) -> Result<Plugged> {
    let driver = driver(engine, name)?;
    let of_container = way_out::options(record)?;
    // Nothing is published on an internal network.
    let mut of_endpoint = if internal { Options::new() } else { of_container.clone() };
    let own = settings.driver_opts.iter().flatten();
    of_endpoint.extend(own.map(|(key, value)| (key.clone(), json!(value))));
    if let Some(mac) = endpoint.mac {
        // As Go writes bytes.
        of_endpoint.insert(MAC_ADDRESS.to_owned(), json!(base64(mac.octets())));
    }
    let (network, id) = (endpoint.network.to_string(), endpoint.id.to_string());
    let id = EndpointId { network: &network, endpoint: &id };
    let interface = Interface {
        address: endpoint.ipv4.map(|(ip, len)| format!("{ip}/{len}")).unwrap_or_default(),
        address_ipv6: endpoint.ipv6.map(|(ip, len)| format!("{ip}/{len}")).unwrap_or_default(),
        mac_address: endpoint.mac.map(|mac| mac.to_string()).unwrap_or_default(),
    };
    engine.handle.block_on(async {
        let made = driver.create_endpoint(id, &interface, &of_endpoint).await?;
        endpoint.mac = made.mac_address.parse().ok();
        // There is no file yet; the name tells containers apart.
        let joined = driver.join(id, &format!("/var/run/docker/netns/{}", record.id.short()), &of_container).await;
        let has_joined = joined.is_ok();
        let plugged = joined.map_err(Error::from).and_then(|joined| plugged(joined, endpoint));
        if plugged.is_err() {
            let left = if has_joined { driver.leave(id).await } else { Ok(()) };
            if let Err(e) = left.and(driver.delete_endpoint(id).await) {
                tracing::warn!("container {}: {e}", record.id);
            }
        }
        plugged
    })
}

fn plugged(joined: Joined, endpoint: &mut Endpoint) -> Result<Plugged> {
    let address = |text: &str| -> Result<Option<IpAddr>> {
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| Error::internal(format!("the plugin's address is none: {text:?}")))
    };
    endpoint.gateway_v4 = match address(&joined.gateway)? {
        Some(IpAddr::V4(ip)) => Some(ip),
        _ => None,
    };
    endpoint.gateway_v6 = match address(&joined.gateway_ipv6)? {
        Some(IpAddr::V6(ip)) => Some(ip),
        _ => None,
    };
    let route = |route: &gantry_plugins::network::StaticRoute| {
        let wrong = || Error::internal(format!("the plugin's route is none: {:?}", route.destination));
        let (_, subnet) = cidr(&route.destination).ok_or_else(wrong)?;
        let (destination, prefix_len) = (subnet.first(), subnet.prefix_len());
        // The other kind is a neighbour.
        let gateway = if route.kind == 0 { address(&route.next_hop)? } else { None };
        Ok(StaticRoute { destination, prefix_len, gateway })
    };
    let routes = joined.routes.iter().map(route).collect::<Result<_>>()?;
    let InterfaceName { source, prefix } = joined.interface.unwrap_or_default();
    let is_bad = |c: char| c == '/' || c == ':' || c == '%' || c.is_whitespace() || c.is_control();
    if source.len() > MAX_NAME || source.contains(['/', '\0']) {
        return Err(Error::internal(format!("the plugin's interface has no name: {source:?}")));
    }
    // A number follows.
    if prefix.len() > MAX_NAME - 3 || prefix.contains(is_bad) {
        return Err(Error::internal(format!("the plugin's prefix of an interface is none: {prefix:?}")));
    }
    Ok(Plugged { source, prefix, routes, way_out: false, ports: Vec::new() })
}

/// Calls the plugin of a member's network about its endpoint. Blocks.
pub(super) fn call<T>(
    engine: &Engine,
    member: &Member,
    call: impl AsyncFnOnce(&NetworkDriver, EndpointId<'_>) -> Result<T>,
) -> Result<T> {
    let driver = driver(engine, &member.driver)?;
    let (network, endpoint) = (member.network.to_string(), member.endpoint.id.to_string());
    engine.handle.block_on(call(&driver, EndpointId { network: &network, endpoint: &endpoint }))
}

/// Tells the plugin that the place is given back.
pub(super) fn leave(engine: &Engine, member: &Member) -> Result<()> {
    let revoked = way_out::revoke(engine, &mut member.clone());
    let left = call(engine, member, async |driver, id| {
        let left = driver.leave(id).await;
        let deleted = driver.delete_endpoint(id).await;
        Ok(left.and(deleted)?)
    });
    left.and(revoked)
}

/// Bytes of a hardware address as Go writes them: base64.
fn base64(bytes: [u8; 6]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn hardware_addresses_as_go_writes_bytes() {
        assert_eq!(base64([2, 0, 0, 0, 0, 0x77]), "AgAAAAB3");
        assert_eq!(base64([0xff; 6]), "////////");
    }
}
