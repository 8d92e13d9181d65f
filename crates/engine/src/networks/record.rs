//! What the engine keeps of a network.

use crate::plan::network::Predefined;
use gantry_api_types::Ipam;
use gantry_model::{Id, Timestamp};
use gantry_network::{Net, NetworkSpec};
use gantry_state_db::Table;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Networks: the predefined ones by name, for their ids alone are kept, the others by id.
pub(crate) const NETWORKS: Table<Network> = Table::new("networks");

/// A network. It never changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Network {
    /// Its id.
    pub(crate) id: Id,
    /// When it was made.
    pub(crate) created: Timestamp,
    /// Its name; nobody else's.
    #[serde(default)]
    pub(crate) name: String,
    /// The driver's name.
    #[serde(default)]
    pub(crate) driver: String,
    /// Whether members get IPv4 addresses.
    #[serde(default = "yes")]
    pub(crate) ipv4: bool,
    /// Whether members get IPv6 addresses.
    #[serde(default)]
    pub(crate) ipv6: bool,
    /// No way out and none in.
    #[serde(default)]
    pub(crate) internal: bool,
    /// What the client said; containers can join any network that is not a swarm's.
    #[serde(default)]
    pub(crate) attachable: bool,
    /// A collection of settings for other networks.
    #[serde(default)]
    pub(crate) config_only: bool,
    /// The network that its settings come from.
    #[serde(default)]
    pub(crate) config_from: String,
    /// Pools as they were asked for, and those that were chosen.
    #[serde(default)]
    pub(crate) ipam: Ipam,
    /// Families (4, 6) whose pools the client left to us, so that it cannot ask for addresses in them.
    #[serde(default)]
    pub(crate) chosen_pools: Vec<u8>,
    /// Pools that a plugin has given.
    #[serde(default)]
    pub(crate) plugin_pools: Vec<PluginPool>,
    /// Driver options.
    #[serde(default)]
    pub(crate) options: BTreeMap<String, String>,
    /// Labels.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// What the network room has made of it.
    #[serde(default)]
    pub(crate) spec: Option<NetworkSpec>,
}

/// A pool of an IPAM plugin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PluginPool {
    /// By which the plugin knows it.
    pub(crate) id: String,
    /// The subnet.
    pub(crate) subnet: Net,
    /// The part of it that addresses come from, if not all of it.
    #[serde(default)]
    pub(crate) range: Option<Net>,
    /// The address that was asked for the gateway.
    pub(crate) gateway: Option<IpAddr>,
    /// Addresses that nobody is to be given.
    #[serde(default)]
    pub(crate) aux: Vec<IpAddr>,
    /// The address space that it was taken from.
    #[serde(default)]
    pub(crate) space: String,
}

const fn yes() -> bool {
    true
}

impl Network {
    /// One of those that always exist.
    pub(crate) fn predefined(network: Predefined, id: Id, created: Timestamp) -> Self {
        Self {
            id,
            created,
            name: network.name().to_owned(),
            driver: network.driver().to_owned(),
            ipv4: true,
            ipv6: false,
            internal: false,
            attachable: false,
            config_only: false,
            config_from: String::new(),
            ipam: Ipam { driver: "default".to_owned(), options: None, config: Some(Vec::new()) },
            chosen_pools: Vec::new(),
            plugin_pools: Vec::new(),
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
            spec: None,
        }
    }

    /// Which of those that always exist it is, if any: nobody else can have their names.
    pub(crate) fn as_predefined(&self) -> Option<Predefined> {
        Predefined::ALL.into_iter().find(|predefined| predefined.name() == self.name)
    }

    /// Whether a client has made it.
    pub(crate) fn is_custom(&self) -> bool {
        self.as_predefined().is_none()
    }
}
