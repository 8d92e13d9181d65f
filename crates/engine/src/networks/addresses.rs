//! Pools and addresses of IPAM plugins.

use super::ipam::cidr;
use super::plugged::plugin;
use super::record::{Network, PluginPool};
use crate::Engine;
use gantry_api_types::IpamConfig;
use gantry_model::{Error, Result};
use gantry_network::{Endpoint, EndpointRequest, MacAddr, PoolRequest};
use gantry_plugins::ipam::{IpamDriver, MAC_ADDRESS, Options as AddressOptions, PoolRequest as Asked, REQUEST_TYPE};
use gantry_plugins::{Kind, Patience};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What a pool's data say of its gateway.
const GATEWAY: &str = "com.docker.network.gateway";

fn driver(engine: &Engine, network: &Network) -> Result<IpamDriver> {
    plugin(engine, &network.ipam.driver, Kind::Ipam).map(IpamDriver)
}

/// Says in a request that the address is to be a gateway's.
pub(super) fn of_gateway() -> AddressOptions {
    AddressOptions::from([(REQUEST_TYPE.0.to_owned(), REQUEST_TYPE.1.to_owned())])
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
    let driver = driver(engine, network)?;
    let spaces = engine.handle.block_on(driver.address_spaces())?;
    let options: AddressOptions = network.ipam.options.clone().unwrap_or_default();
    let mut requests = Vec::new();
    for (v6, config) in configs(network) {
        let asked = Asked {
            address_space: spaces.local.clone(),
            pool: config.subnet.clone(),
            sub_pool: config.ip_range.clone(),
            options: options.clone(),
            v6,
        };
        let pool = engine.handle.block_on(driver.request_pool(&asked))?;
        let wrong = || Error::internal(format!("the plugin's pool is none: {:?}", pool.pool));
        let (_, subnet) = cidr(&pool.pool).filter(|(_, subnet)| subnet.is_ipv4() != v6).ok_or_else(wrong)?;
        let range = cidr(&config.ip_range).map(|(_, range)| range);
        let space = spaces.local.clone();
        let aux = Vec::new();
        network.plugin_pools.push(PluginPool { id: pool.id.clone(), subnet, range, gateway: None, aux, space });
        let gateway = if let Some((gateway, _)) = pool.data.get(GATEWAY).and_then(|text| cidr(text)) {
            Some(gateway)
        } else {
            let given = engine.handle.block_on(driver.request_address(&pool.id, &config.gateway, &of_gateway()))?;
            let gateway = cidr(&given.address).map(|(gateway, _)| gateway);
            if let Some(last) = network.plugin_pools.last_mut() {
                last.gateway = gateway;
            }
            gateway
        };
        let aux = config.auxiliary_addresses.iter().flatten();
        let aux: BTreeMap<String, IpAddr> =
            aux.filter_map(|(name, ip)| Some((name.clone(), ip.parse().ok()?))).collect();
        for ip in aux.values() {
            let none = AddressOptions::new();
            engine.handle.block_on(driver.request_address(&pool.id, &ip.to_string(), &none))?;
            network.plugin_pools.last_mut().expect("pushed above").aux.push(*ip);
        }
        requests.push(PoolRequest { subnet: Some(subnet), range, gateway, aux });
    }
    Ok(requests)
}

/// The pools to ask for, and whether they are of IPv6. A family that the client says nothing about gets any pool; those
/// of a family that the network does not have mean nothing.
fn configs(network: &Network) -> Vec<(bool, IpamConfig)> {
    let asked = network.ipam.config.iter().flatten().cloned();
    let is_v6 = |config: &IpamConfig| cidr(&config.subnet).is_some_and(|(_, subnet)| !subnet.is_ipv4());
    let (v6, v4): (Vec<_>, Vec<_>) = asked.partition(is_v6);
    let family = |wanted: bool, asked: Vec<IpamConfig>| match (wanted, asked.is_empty()) {
        (false, _) => Vec::new(),
        (true, true) => vec![IpamConfig::default()],
        (true, false) => asked,
    };
    let v4 = family(network.ipv4, v4).into_iter().map(|config| (false, config));
    v4.chain(family(network.ipv6, v6).into_iter().map(|config| (true, config))).collect()
}

/// Gives them back; what fails is logged, for nobody can act on it.
pub(super) fn release_pools(engine: &Engine, network: &Network) {
    if network.plugin_pools.is_empty() {
        return;
    }
    let released = driver(engine, network).and_then(|driver| {
        engine.handle.block_on(async {
            for pool in &network.plugin_pools {
                for address in pool.gateway.iter().chain(&pool.aux) {
                    driver.release_address(&pool.id, &address.to_string()).await?;
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
pub(super) fn of(endpoint: &Endpoint) -> Vec<IpAddr> {
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
    let driver = driver(engine, network)?;
    let options = if engine.handle.block_on(driver.capability(Patience::Long))?.requires_mac_address {
        of_endpoint(*request.mac.get_or_insert_with(MacAddr::random))
    } else {
        AddressOptions::new()
    };
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
    let released = driver(engine, network).and_then(|driver| {
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

/// Says in a request whose address it is to be.
pub(super) fn of_endpoint(mac: MacAddr) -> AddressOptions {
    AddressOptions::from([(MAC_ADDRESS.to_owned(), mac.to_string())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::network::Predefined;
    use gantry_model::{Id, Timestamp};

    #[test]
    fn pools_of_the_families_that_there_are() {
        let pools = |ipv4: bool, ipv6: bool, subnets: &[&str]| {
            let mut network = Network::predefined(Predefined::Bridge, Id::random(), Timestamp::now());
            (network.ipv4, network.ipv6) = (ipv4, ipv6);
            let config = |subnet: &&str| IpamConfig { subnet: (*subnet).to_owned(), ..IpamConfig::default() };
            network.ipam.config = Some(subnets.iter().map(config).collect());
            configs(&network).into_iter().map(|(v6, config)| (v6, config.subnet)).collect::<Vec<_>>()
        };
        let pair = |v6: bool, subnet: &str| (v6, subnet.to_owned());
        assert_eq!(pools(true, false, &[]), [pair(false, "")]);
        assert_eq!(pools(true, true, &[]), [pair(false, ""), pair(true, "")]);
        assert_eq!(pools(true, true, &["fd00::/64"]), [pair(false, ""), pair(true, "fd00::/64")]);
        assert_eq!(pools(true, false, &["10.0.0.0/24", "fd00::/64"]), [pair(false, "10.0.0.0/24")]);
        assert_eq!(pools(false, true, &["10.0.0.0/24"]), [pair(true, "")]);
    }
}
