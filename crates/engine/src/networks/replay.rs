//! After a restart of the daemon, IPAM plugins that keep nothing themselves are told again what they have given out
//! (`RequiresRequestReplay`): the pools, and the addresses of who is there.

use super::addresses::{self, of_endpoint, of_gateway};
use super::ipam::{self, cidr};
use super::record::{NETWORKS, Network, PluginPool};
use crate::Engine;
use gantry_model::{Error, Result};
use gantry_network::MacAddr;
use gantry_plugins::ipam::{IpamDriver, Options, PoolRequest};
use gantry_plugins::{Kind, Patience};
use gantry_state_db::Batch;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::task::JoinSet;

impl Engine {
    /// Tells them; before anybody is given an address of theirs. A plugin that is away has been told nothing, and is
    /// warned about.
    pub(crate) async fn replay_addresses(self: &Arc<Self>) {
        let mut all = JoinSet::new();
        for network in self.networks.all() {
            if network.plugin_pools.is_empty() || network.ipam.driver == ipam::DEFAULT {
                continue;
            }
            let engine = self.clone();
            all.spawn(async move {
                if let Err(e) = engine.replay_network(&network).await {
                    tracing::warn!("network {}: telling its IPAM plugin again: {e}", network.name);
                }
            });
        }
        all.join_all().await;
    }

    async fn replay_network(self: &Arc<Self>, network: &Network) -> Result<()> {
        let driver = IpamDriver(self.plugins.get(&network.ipam.driver, Kind::Ipam, Patience::Brief).await?);
        let capability = driver.capability(Patience::Brief).await?;
        if !capability.requires_request_replay {
            return Ok(());
        }
        let mut pools = Vec::new();
        for pool in &network.plugin_pools {
            pools.push(replay_pool(&driver, network, pool).await?);
        }
        for (address, mac) in self.given(network) {
            let Some(pool) = pools.iter().find(|pool| pool.subnet.contains(address)) else { continue };
            // As a client's wish for this very address.
            let options = mac.filter(|_| capability.requires_mac_address).map_or_else(Options::new, of_endpoint);
            driver.request_address(&pool.id, &address.to_string(), &options).await?;
        }
        if pools.iter().zip(&network.plugin_pools).any(|(new, old)| new.id != old.id) {
            let network = Arc::new(Network { plugin_pools: pools, ..network.clone() });
            self.commit(Batch::new().put(NETWORKS, &network.id.to_string(), &*network)?).await?;
            self.networks.insert(network);
        }
        Ok(())
    }

    /// The addresses that members have.
    fn given(&self, network: &Network) -> Vec<(IpAddr, Option<MacAddr>)> {
        let containers = self.containers.all();
        let members = containers.iter().filter_map(|container| {
            let record = container.read();
            let endpoint = &record.attached.on(&network.id)?.endpoint;
            Some(addresses::of(endpoint).into_iter().map(|ip| (ip, endpoint.mac)).collect::<Vec<_>>())
        });
        members.flatten().collect()
    }
}

async fn replay_pool(driver: &IpamDriver, network: &Network, pool: &PluginPool) -> Result<PluginPool> {
    // Older records do not say.
    let space = if pool.space.is_empty() { driver.address_spaces().await?.local } else { pool.space.clone() };
    let asked = PoolRequest {
        address_space: space,
        pool: pool.subnet.to_string(),
        sub_pool: pool.range.map(|range| range.to_string()).unwrap_or_default(),
        options: network.ipam.options.clone().unwrap_or_default(),
        v6: !pool.subnet.is_ipv4(),
    };
    let given = driver.request_pool(&asked).await?;
    if cidr(&given.pool).is_none_or(|(_, subnet)| subnet != pool.subnet) {
        return Err(Error::internal(format!("it has another pool than {}: {:?}", pool.subnet, given.pool)));
    }
    if let Some(gateway) = pool.gateway {
        driver.request_address(&given.id, &gateway.to_string(), &of_gateway()).await?;
    }
    for address in &pool.aux {
        driver.request_address(&given.id, &address.to_string(), &Options::new()).await?;
    }
    Ok(PluginPool { id: given.id, ..pool.clone() })
}
