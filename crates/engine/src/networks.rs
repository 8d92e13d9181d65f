//! `GET /networks` and `GET /networks/{id}`: the networks that always exist.

use crate::container::Record;
use crate::plan::network::{Predefined, mode};
use crate::{Engine, Filters};
use gantry_api_types::{Ipam, IpamConfig, Network, NetworkContainer};
use gantry_model::{Error, Id, Result, Timestamp};
use gantry_state_db::{Batch, Db, Table};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const NETWORKS: Table<Identity> = Table::new("networks");
const FILTERS: &[&str] = &["dangling", "driver", "id", "label", "name", "scope", "type"];

/// What a predefined network keeps over restarts.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Identity {
    id: Id,
    created: Timestamp,
}

/// The ids of the predefined networks, made with the data-root.
#[derive(Debug)]
pub(crate) struct Networks(BTreeMap<String, Identity>);

impl Networks {
    /// Loads the ids, or makes them.
    pub(crate) fn open(db: &Db) -> Result<Self> {
        let mut known: BTreeMap<String, Identity> = db.load(NETWORKS)?.into_iter().collect();
        let mut batch = Batch::new();
        for network in Predefined::ALL {
            if !known.contains_key(network.name()) {
                let identity = Identity { id: Id::random(), created: Timestamp::now() };
                batch = batch.put(NETWORKS, network.name(), &identity)?;
                known.insert(network.name().to_owned(), identity);
            }
        }
        if !batch.is_empty() {
            db.commit(batch)?;
        }
        Ok(Self(known))
    }

    /// The id of the default network.
    pub(crate) fn default_bridge(&self) -> Id {
        self.of(Predefined::Bridge).id
    }

    fn of(&self, network: Predefined) -> &Identity {
        self.0.get(network.name()).expect("open makes every predefined network")
    }
}

impl Engine {
    /// The id of a predefined network.
    pub(crate) fn network_id(&self, network: Predefined) -> String {
        self.networks.of(network).id.to_string()
    }

    /// The networks that match. `Containers` is inspect's business, as in Docker.
    pub async fn network_list(&self, filters: Filters) -> Result<Vec<Network>> {
        filters.accept_only(FILTERS)?;
        let dangling = filters.boolean("dangling")?;
        let all = self.present().map(|n| self.describe(n));
        // Predefined networks are never dangling: they cannot be pruned.
        Ok(all.filter(|n| dangling != Some(true) && matches(n, &filters)).collect())
    }

    /// A network by name, id or unique prefix of an id.
    pub async fn network_inspect(&self, text: &str) -> Result<Network> {
        let found = self.find_network(text)?;
        let mut network = self.describe(found);
        network.containers = self.network_containers(found);
        Ok(network)
    }

    fn find_network(&self, text: &str) -> Result<Predefined> {
        if let Some(found) = self.present().find(|n| n.name() == text || self.network_id(*n) == text) {
            return Ok(found);
        }
        let mut matches = self.present().filter(|n| !text.is_empty() && self.network_id(*n).starts_with(text));
        match (matches.next(), matches.next()) {
            (Some(found), None) => Ok(found),
            (Some(_), Some(_)) => {
                Err(Error::invalid(format!("network {text} is ambiguous ({text} matches found on ID prefix)")))
            }
            _ => Err(Error::not_found(format!("network {text} not found"))),
        }
    }

    /// Without a bridge (`--bridge none`) there is no network `bridge`.
    fn present(&self) -> impl Iterator<Item = Predefined> {
        let bridge = self.network.default_bridge().is_some();
        Predefined::ALL.into_iter().filter(move |n| bridge || *n != Predefined::Bridge)
    }

    fn describe(&self, network: Predefined) -> Network {
        let identity = self.networks.of(network);
        let bridge = self.network.default_bridge().filter(|_| network == Predefined::Bridge);
        let subnets = bridge.iter().flat_map(|b| &b.subnets);
        let config: Vec<_> = subnets
            .map(|s| IpamConfig {
                subnet: s.subnet.to_string(),
                gateway: s.gateway.map(|ip| ip.to_string()).unwrap_or_default(),
                ..IpamConfig::default()
            })
            .collect();
        Network {
            name: network.name().to_owned(),
            id: identity.id.to_string(),
            created: identity.created.to_string(),
            scope: "local".to_owned(),
            driver: network.driver().to_owned(),
            enable_ipv4: true,
            ipam: Ipam { driver: "default".to_owned(), options: None, config: Some(config) },
            options: bridge.map(|b| self.bridge_options(&b)).unwrap_or_default(),
            ..Network::default()
        }
    }

    fn bridge_options(&self, bridge: &gantry_network::NetworkSpec) -> BTreeMap<String, String> {
        let config = &self.config.network;
        let name = match &bridge.driver {
            gantry_network::Driver::Bridge(options) => options.ifname.clone(),
            _ => String::new(),
        };
        let pairs = [
            ("com.docker.network.bridge.default_bridge", "true".to_owned()),
            ("com.docker.network.bridge.enable_icc", config.icc.to_string()),
            ("com.docker.network.bridge.enable_ip_masquerade", config.ip_masq.to_string()),
            ("com.docker.network.bridge.host_binding_ipv4", config.default_bind_ip.to_string()),
            ("com.docker.network.bridge.name", name),
            ("com.docker.network.driver.mtu", config.mtu.to_string()),
        ];
        pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
    }

    fn network_containers(&self, network: Predefined) -> BTreeMap<String, NetworkContainer> {
        let containers = self.containers.all();
        let members = containers.iter().filter_map(|container| {
            let record = container.read();
            let inside = record.state.status.is_live() && mode(&record).ok()?.network() == Some(network);
            inside.then(|| (record.id.to_string(), member(&record)))
        });
        members.collect()
    }
}

fn member(record: &Record) -> NetworkContainer {
    let name = record.name.clone();
    match &record.endpoint {
        None => NetworkContainer { name, ..NetworkContainer::default() },
        Some(endpoint) => NetworkContainer {
            name,
            endpoint_id: endpoint.id.to_string(),
            mac_address: endpoint.mac.map(|mac| mac.to_string()).unwrap_or_default(),
            ipv4_address: endpoint.ipv4.map(|(ip, len)| format!("{ip}/{len}")).unwrap_or_default(),
            ipv6_address: endpoint.ipv6.map(|(ip, len)| format!("{ip}/{len}")).unwrap_or_default(),
        },
    }
}

/// Several values of a key are alternatives, labels excepted, as in Docker.
fn matches(network: &Network, filters: &Filters) -> bool {
    let any = |key: &str, test: &dyn Fn(&str) -> bool| !filters.has(key) || filters.get(key).any(test);
    any("driver", &|v| network.driver == v)
        && any("id", &|v| network.id.starts_with(v))
        && any("name", &|v| network.name.contains(v))
        && any("scope", &|v| network.scope == v)
        && any("type", &|v| v == "builtin")
        && filters.match_labels("label", &network.labels)
}
