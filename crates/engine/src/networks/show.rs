//! `GET /networks` and `GET /networks/{id}`.

use super::record::Network;
use crate::container::Record;
use crate::plan::network::Predefined;
use crate::{Engine, Filters, text_filter::Pattern};
use gantry_api_types::{ConfigReference, Ipam, IpamConfig, Network as Shown, NetworkContainer};
use gantry_model::{Error, Id, Result};
use gantry_network::Driver;
use std::collections::{BTreeMap, HashSet};

const FILTERS: &[&str] = &["dangling", "driver", "id", "label", "name", "scope", "type"];
/// Where a network exists; no swarm, no other.
const SCOPE: &str = "local";

impl Engine {
    /// The networks that match, with their members only if `detailed`.
    pub async fn network_list(&self, filters: Filters, detailed: bool) -> Result<Vec<Shown>> {
        let criteria = Criteria::new(&filters)?;
        let used = if criteria.dangling.is_some() { self.networks_in_use() } else { HashSet::new() };
        let found = self.networks.all().into_iter().filter(|network| criteria.matches(network, &used));
        Ok(found.map(|network| self.show_network(&network, detailed)).collect())
    }

    /// A network by name, id or unique prefix of an id. `scope` is where it must exist, anywhere when empty.
    pub async fn network_inspect(&self, text: &str, scope: &str) -> Result<Shown> {
        let found = self.networks.find(text)?;
        if !scope.is_empty() && scope != SCOPE {
            return Err(Error::not_found(format!("network {text} not found")));
        }
        Ok(self.show_network(&found, true))
    }

    fn show_network(&self, network: &Network, detailed: bool) -> Shown {
        let (ipam, options) = match network.as_predefined() {
            Some(Predefined::Bridge) => self.default_bridge_settings(network),
            _ => (network.ipam.clone(), network.options.clone()),
        };
        Shown {
            name: network.name.clone(),
            id: network.id.to_string(),
            created: network.created.to_string(),
            scope: SCOPE.to_owned(),
            driver: network.driver.clone(),
            enable_ipv4: network.ipv4,
            enable_ipv6: network.ipv6,
            ipam,
            internal: network.internal,
            attachable: network.attachable,
            ingress: false,
            config_from: ConfigReference { network: network.config_from.clone() },
            config_only: network.config_only,
            containers: if detailed { self.network_members(network) } else { BTreeMap::new() },
            options,
            labels: network.labels.clone(),
        }
    }

    /// The default bridge follows the daemon's configuration, so that nothing of it is kept.
    fn default_bridge_settings(&self, network: &Network) -> (Ipam, BTreeMap<String, String>) {
        let Some(bridge) = self.network.default_bridge() else {
            return (network.ipam.clone(), BTreeMap::new());
        };
        let pools = bridge.subnets.iter().map(|s| IpamConfig {
            subnet: s.subnet.to_string(),
            ip_range: s.range.map(|range| range.to_string()).unwrap_or_default(),
            gateway: s.gateway.map(|ip| ip.to_string()).unwrap_or_default(),
            auxiliary_addresses: None,
        });
        let config = &self.config.network;
        let name = match &bridge.driver {
            Driver::Bridge(options) => options.ifname.clone(),
            Driver::Macvlan(_) | Driver::Ipvlan(_) | Driver::Remote { .. } => String::new(),
        };
        let pairs = [
            ("com.docker.network.bridge.default_bridge", "true".to_owned()),
            ("com.docker.network.bridge.enable_icc", config.icc.to_string()),
            ("com.docker.network.bridge.enable_ip_masquerade", config.ip_masq.to_string()),
            ("com.docker.network.bridge.host_binding_ipv4", config.default_bind_ip.to_string()),
            ("com.docker.network.bridge.name", name),
            ("com.docker.network.driver.mtu", config.mtu.to_string()),
        ];
        let options = pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        (Ipam { config: Some(pools.collect()), ..network.ipam.clone() }, options)
    }

    fn network_members(&self, network: &Network) -> BTreeMap<String, NetworkContainer> {
        let containers = self.containers.all();
        let members = containers.iter().filter_map(|container| {
            let record = container.read();
            Some((record.id.to_string(), member(&record, network)?))
        });
        members.collect()
    }

    /// Networks that a running container is on.
    fn networks_in_use(&self) -> HashSet<Id> {
        let containers = self.containers.all();
        containers
            .iter()
            .flat_map(|c| c.read().attached.members.iter().map(|m| m.network).collect::<Vec<_>>())
            .collect()
    }
}

fn member(record: &Record, network: &Network) -> Option<NetworkContainer> {
    let name = record.name.clone();
    if let Some(member) = record.attached.on(&network.id) {
        let address = |address: Option<String>| address.unwrap_or_default();
        let endpoint = &member.endpoint;
        return Some(NetworkContainer {
            name,
            endpoint_id: endpoint.id.to_string(),
            mac_address: endpoint.mac.map(|mac| mac.to_string()).unwrap_or_default(),
            ipv4_address: address(endpoint.ipv4.map(|(ip, len)| format!("{ip}/{len}"))),
            ipv6_address: address(endpoint.ipv6.map(|(ip, len)| format!("{ip}/{len}"))),
        });
    }
    // `host` and `none` give nothing that could be told.
    let there = matches!(network.as_predefined(), Some(Predefined::Host | Predefined::None))
        && record.state.status.is_live()
        && record.networks.contains_key(&network.name);
    there.then(|| NetworkContainer {
        name,
        endpoint_id: crate::network_view::derived_id(&[&record.id.to_string(), &network.name]),
        ..NetworkContainer::default()
    })
}

/// The list's filters. Several values of one key are alternatives, labels excepted, as in Docker.
struct Criteria<'f> {
    filters: &'f Filters,
    names: Vec<Pattern>,
    ids: Vec<Pattern>,
    dangling: Option<bool>,
}

impl<'f> Criteria<'f> {
    fn new(filters: &'f Filters) -> Result<Self> {
        filters.accept_only(FILTERS)?;
        let dangling = filters.boolean("dangling").map_err(|_| {
            Error::invalid("invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")")
        })?;
        if let Some(other) = filters.get("type").find(|t| !matches!(*t, "custom" | "builtin")) {
            return Err(Error::invalid(format!("invalid filter: 'type'='{other}'")));
        }
        Ok(Self { filters, names: Pattern::all(filters, "name"), ids: Pattern::all(filters, "id"), dangling })
    }

    fn matches(&self, network: &Network, used: &HashSet<Id>) -> bool {
        let any = |key: &str, test: &dyn Fn(&str) -> bool| !self.filters.has(key) || self.filters.get(key).any(test);
        let custom = network.is_custom();
        // Predefined networks are never dangling: they cannot be pruned.
        self.dangling.is_none_or(|dangling| dangling == (custom && !used.contains(&network.id)))
            && Pattern::any(&self.names, &network.name)
            && (self.ids.is_empty() || Pattern::any(&self.ids, &network.id.to_string()))
            && any("driver", &|driver| network.driver == driver)
            && any("scope", &|scope| scope == SCOPE)
            && any("type", &|wanted| custom == (wanted == "custom"))
            && self.filters.match_labels("label", &network.labels)
    }
}
