//! Networks and addresses of plugins.
//!
//! A plugin's network has its subnets and addresses in the network room like any other, but nothing in the kernel: its
//! interfaces come from the plugin. The plugin hears of an endpoint and of its use when the place is reserved, before
//! there is a network namespace, and the end of both when it is given back.

use super::ipam::cidr;
use super::members::{Member, Plugged, StaticRoute};
use super::record::{Network, PluginPool};
use crate::Engine;
use crate::container::Record;
use gantry_model::{Error, Result};
use gantry_network::{Endpoint, EndpointRequest, NetworkSpec, PoolRequest};
use gantry_plugins::ipam::{IpamDriver, Options as AddressOptions, PoolRequest as Asked, REQUEST_TYPE};
use gantry_plugins::network::{CreateNetwork, EndpointId, Interface, IpamData, Joined, NetworkDriver, Options};
use gantry_plugins::{Kind, Patience, Plugin};
use serde_json::json;
use std::net::IpAddr;

/// Where the options are that the client gave.
const GENERIC: &str = "com.docker.network.generic";
const IPV6: &str = "com.docker.network.enable_ipv6";
const INTERNAL: &str = "com.docker.network.internal";
/// What a pool's data say of its gateway.
const GATEWAY: &str = "com.docker.network.gateway";

fn plugin(engine: &Engine, name: &str, kind: Kind) -> Result<Plugin> {
    Ok(engine.handle.block_on(engine.plugins.get(name, kind, Patience::Long))?)
}

/// The plugin that makes networks of this driver.
pub(super) fn driver(engine: &Engine, name: &str) -> Result<NetworkDriver> {
    plugin(engine, name, Kind::Network).map(NetworkDriver)
}

fn ipam_driver(engine: &Engine, network: &Network) -> Result<IpamDriver> {
    plugin(engine, &network.ipam.driver, Kind::Ipam).map(IpamDriver)
}

/// Has the plugin make a network.
pub(super) fn create(engine: &Engine, name: &str, network: &Network, spec: &NetworkSpec) -> Result<()> {
    let driver = driver(engine, name)?;
    let pools = |ipv4: bool| {
        let subnets = spec.subnets.iter().filter(|s| s.subnet.is_ipv4() == ipv4);
        let bits = |s: &gantry_network::SubnetSpec| s.subnet.prefix_len();
        let data = subnets.map(|s| IpamData {
            address_space: "LocalDefault".to_owned(),
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
pub(super) fn join(engine: &Engine, name: &str, record: &Record, endpoint: &mut Endpoint) -> Result<Plugged> {
    let driver = driver(engine, name)?;
    let (network, id) = (endpoint.network.to_string(), endpoint.id.to_string());
    let id = EndpointId { network: &network, endpoint: &id };
    let interface = Interface {
        address: endpoint.ipv4.map(|(ip, len)| format!("{ip}/{len}")).unwrap_or_default(),
        address_ipv6: endpoint.ipv6.map(|(ip, len)| format!("{ip}/{len}")).unwrap_or_default(),
        mac_address: endpoint.mac.map(|mac| mac.to_string()).unwrap_or_default(),
    };
    engine.handle.block_on(async {
        let options = Options::new();
        let made = driver.create_endpoint(id, &interface, &options).await?;
        endpoint.mac = made.mac_address.parse().ok();
        // There is no file yet; the name tells containers apart.
        let joined = driver.join(id, &format!("/var/run/docker/netns/{}", record.id.short()), &options).await;
        let plugged = joined.map_err(Error::from).and_then(|joined| plugged(joined, endpoint));
        if plugged.is_err()
            && let Err(e) = driver.delete_endpoint(id).await
        {
            tracing::warn!("container {}: {e}", record.id);
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
    let source = joined.interface.map(|interface| interface.source).unwrap_or_default();
    if source.len() > 15 || source.contains(['/', '\0']) {
        return Err(Error::internal(format!("the plugin's interface has no name: {source:?}")));
    }
    Ok(Plugged { source, routes })
}

/// Tells the plugin that the place is given back.
pub(super) fn leave(engine: &Engine, member: &Member) -> Result<()> {
    let driver = driver(engine, &member.driver)?;
    let (network, endpoint) = (member.network.to_string(), member.endpoint.id.to_string());
    let id = EndpointId { network: &network, endpoint: &endpoint };
    engine.handle.block_on(async {
        let left = driver.leave(id).await;
        let deleted = driver.delete_endpoint(id).await;
        Ok(left.and(deleted)?)
    })
}

/// Takes the pools of a network from its IPAM plugin.
pub(super) fn request_pools(engine: &Engine, network: &mut Network) -> Result<Vec<PoolRequest>> {
    let requests = request_all(engine, network);
    if requests.is_err() {
        release_pools(engine, network);
    }
    requests
}

fn request_all(engine: &Engine, network: &mut Network) -> Result<Vec<PoolRequest>> {
    let driver = ipam_driver(engine, network)?;
    let spaces = engine.handle.block_on(driver.address_spaces())?;
    let mut configs = network.ipam.config.clone().unwrap_or_default();
    if configs.is_empty() {
        configs.push(gantry_api_types::IpamConfig::default());
    }
    let options: AddressOptions = network.ipam.options.clone().unwrap_or_default();
    let mut requests = Vec::new();
    for config in &configs {
        let v6 = cidr(&config.subnet).is_some_and(|(_, subnet)| !subnet.is_ipv4());
        let asked = Asked {
            address_space: spaces.local.clone(),
            pool: config.subnet.clone(),
            sub_pool: config.ip_range.clone(),
            options: options.clone(),
            v6,
        };
        let pool = engine.handle.block_on(driver.request_pool(&asked))?;
        let wrong = || Error::internal(format!("the plugin's pool is none: {:?}", pool.pool));
        let (_, subnet) = cidr(&pool.pool).ok_or_else(wrong)?;
        network.plugin_pools.push(PluginPool { id: pool.id.clone(), subnet, gateway: None });
        let gateway = if let Some((gateway, _)) = pool.data.get(GATEWAY).and_then(|text| cidr(text)) {
            Some(gateway)
        } else {
            let kind = AddressOptions::from([(REQUEST_TYPE.0.to_owned(), REQUEST_TYPE.1.to_owned())]);
            let given = engine.handle.block_on(driver.request_address(&pool.id, &config.gateway, &kind))?;
            let gateway = cidr(&given.address).map(|(gateway, _)| gateway);
            if let Some(last) = network.plugin_pools.last_mut() {
                last.gateway = gateway;
            }
            gateway
        };
        let aux = config.auxiliary_addresses.iter().flatten();
        requests.push(PoolRequest {
            subnet: Some(subnet),
            range: cidr(&config.ip_range).map(|(_, range)| range),
            gateway,
            aux: aux.filter_map(|(name, address)| Some((name.clone(), address.parse().ok()?))).collect(),
        });
    }
    Ok(requests)
}

/// Gives them back; what fails is logged, for nobody can act on it.
pub(super) fn release_pools(engine: &Engine, network: &Network) {
    if network.plugin_pools.is_empty() {
        return;
    }
    let released = ipam_driver(engine, network).and_then(|driver| {
        engine.handle.block_on(async {
            for pool in &network.plugin_pools {
                if let Some(gateway) = pool.gateway {
                    driver.release_address(&pool.id, &gateway.to_string()).await?;
                }
                driver.release_pool(&pool.id).await?;
            }
            Ok(())
        })
    });
    if let Err(e) = released {
        tracing::warn!("network {}: releasing its pools: {e}", network.name);
    }
}

/// The addresses of a place, as [`give_back`] takes them.
pub(super) fn addresses(endpoint: &Endpoint) -> Vec<IpAddr> {
    let v4 = endpoint.ipv4.map(|(ip, _)| IpAddr::V4(ip));
    v4.into_iter().chain(endpoint.ipv6.map(|(ip, _)| IpAddr::V6(ip))).collect()
}

/// Takes addresses from the network's IPAM plugin, if it has one, and puts them into the request.
pub(super) fn request_addresses(
    engine: &Engine,
    network: &Network,
    request: &mut EndpointRequest,
) -> Result<Vec<IpAddr>> {
    let mut given = Vec::new();
    if network.plugin_pools.is_empty() {
        return Ok(given);
    }
    let driver = ipam_driver(engine, network)?;
    let mut options = AddressOptions::new();
    if let Some(mac) = request.mac {
        options.insert(gantry_plugins::ipam::MAC_ADDRESS.to_owned(), mac.to_string());
    }
    for ipv4 in [true, false] {
        let wanted = if ipv4 { request.ipv4.map(IpAddr::V4) } else { request.ipv6.map(IpAddr::V6) };
        let fits =
            |pool: &&PluginPool| pool.subnet.is_ipv4() == ipv4 && wanted.is_none_or(|ip| pool.subnet.contains(ip));
        let Some(pool) = network.plugin_pools.iter().find(fits) else { continue };
        let text = wanted.map(|ip| ip.to_string()).unwrap_or_default();
        let address = engine.handle.block_on(driver.request_address(&pool.id, &text, &options));
        let parsed = address.map_err(Error::from).and_then(|address| {
            let wrong = || Error::internal(format!("the plugin's address is none: {:?}", address.address));
            cidr(&address.address).map(|(ip, _)| ip).ok_or_else(wrong)
        });
        match parsed.inspect_err(|_| give_back(engine, network, &given))? {
            IpAddr::V4(ip) => request.ipv4 = Some(ip),
            IpAddr::V6(ip) => request.ipv6 = Some(ip),
        }
        let taken = if ipv4 { request.ipv4.map(IpAddr::V4) } else { request.ipv6.map(IpAddr::V6) };
        given.extend(taken);
    }
    Ok(given)
}

/// Gives addresses back to the network's IPAM plugin, if it has one.
pub(super) fn give_back(engine: &Engine, network: &Network, addresses: &[IpAddr]) {
    if network.plugin_pools.is_empty() || addresses.is_empty() {
        return;
    }
    let released = ipam_driver(engine, network).and_then(|driver| {
        engine.handle.block_on(async {
            for address in addresses {
                if let Some(pool) = network.plugin_pools.iter().find(|pool| pool.subnet.contains(*address)) {
                    driver.release_address(&pool.id, &address.to_string()).await?;
                }
            }
            Ok(())
        })
    });
    if let Err(e) = released {
        tracing::warn!("network {}: releasing an address: {e}", network.name);
    }
}
