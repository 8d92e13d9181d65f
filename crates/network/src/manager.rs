//! The door of the crate: what is shared by its verbs, each of which has a file of its own.

use crate::bridge::{self, Bridge};
use crate::firewall::{Firewall, NetworkRules};
use crate::ipam::Addresses;
use crate::ports::Ports;
use crate::subnet::Subnet;
use crate::sweeper::{Sweeper, delete_links};
use crate::{BridgeInfo, Config, Endpoint, Error, Result};
use gantry_linux::netlink::{Protocol, Socket};
use gantry_model::Id;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Everything Gantry has in the host's network namespace. Calls may come from any thread.
///
/// Locks are taken in the order of the fields, and never held while a container's process is waited for.
#[derive(Debug)]
pub struct Manager {
    pub(crate) config: Config,
    pub(crate) network: Option<Network>,
    /// `None` where the daemon may not touch the firewall.
    pub(crate) firewall: Option<Firewall>,
    /// Links, addresses, routes.
    pub(crate) links: Mutex<Socket>,
    /// Firewall and connection tracking. Held from a change of the table until the books say so, because
    /// the table can be rebuilt from the books at any time.
    pub(crate) netfilter: Mutex<Socket>,
    pub(crate) books: Mutex<Books>,
    pub(crate) sweeper: Sweeper,
}

/// The default network. More networks are more of these, around the same firewall and the same ports.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) bridge: Bridge,
    /// The containers' default gateway.
    pub(crate) gateway: Ipv4Addr,
    pub(crate) mtu: u32,
}

/// What is whose.
#[derive(Debug)]
pub(crate) struct Books {
    /// `None` where there is no network.
    pub(crate) addresses: Option<Addresses>,
    pub(crate) ports: Ports,
    pub(crate) endpoints: HashMap<Id, Entry>,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) endpoint: Endpoint,
    /// Whether its ports are in the firewall's maps.
    pub(crate) attached: bool,
}

impl Manager {
    /// Makes what is missing of the bridge and the firewall table, and adopts what is there.
    pub fn open(config: Config) -> Result<Self> {
        let socket = |protocol| Socket::open(protocol).map_err(Error::kernel("open a netlink socket"));
        let mut links = socket(Protocol::Route)?;
        let mut netfilter = socket(Protocol::Netfilter)?;
        let network = bridge::open(&mut links, &config)?.map(|bridge| Network::new(bridge, &config)).transpose()?;
        let firewall = config.firewall.then(|| {
            let rules = network.iter().map(|n| n.rules(&config)).collect();
            Firewall::new(config.table_name(), rules)
        });
        // A table that is there stays in force, with the ports of living containers in it, until `restore` knows
        // which those are.
        if let Some(firewall) = &firewall
            && network.is_some()
            && !firewall.exists(&mut netfilter)?
        {
            firewall.rebuild(&mut netfilter, std::iter::empty())?;
        }
        let books = Books::new(network.as_ref(), &config)?;
        Ok(Self {
            config,
            network,
            firewall,
            links: Mutex::new(links),
            netfilter: Mutex::new(netfilter),
            books: Mutex::new(books),
            sweeper: Sweeper::start(socket(Protocol::Route)?)?,
        })
    }

    /// The default network; `None` when it is disabled.
    pub fn default_bridge(&self) -> Option<BridgeInfo> {
        self.network.as_ref().map(|n| BridgeInfo {
            name: n.bridge.name.clone(),
            subnet: n.bridge.subnet.network(),
            prefix_len: n.bridge.subnet.prefix_len(),
            gateway: n.gateway,
            mtu: n.mtu,
        })
    }

    pub(crate) fn network(&self) -> Result<&Network> {
        self.network.as_ref().ok_or(Error::NoDefaultBridge)
    }

    /// Removes bridge and firewall table, if no endpoint is left and they are Gantry's own. A daemon that does so
    /// at its end leaves nothing behind on the host; one that does not finds them again.
    pub fn remove_if_unused(&self) -> Result<bool> {
        let mut links = lock(&self.links);
        let mut netfilter = lock(&self.netfilter);
        if !lock(&self.books).endpoints.is_empty() {
            return Ok(false);
        }
        let mut errors = Vec::new();
        if let Some(firewall) = &self.firewall {
            errors.extend(firewall.remove(&mut netfilter).err());
        }
        if let Some(network) = self.network.as_ref().filter(|n| n.bridge.owned) {
            errors.extend(delete_links(&mut links, &[&network.bridge.name]).err());
        }
        Error::gather(errors).map(|()| true)
    }
}

impl Network {
    fn new(bridge: Bridge, config: &Config) -> Result<Self> {
        let gateway = config.default_gateway.unwrap_or(bridge.address);
        if !bridge.subnet.is_host(gateway) {
            return Err(Error::Config(format!("default gateway {gateway} is not in {}", bridge.subnet)));
        }
        Ok(Self { bridge, gateway, mtu: config.mtu })
    }

    fn rules(&self, config: &Config) -> NetworkRules {
        NetworkRules {
            bridge: self.bridge.name.clone(),
            subnet: self.bridge.subnet,
            masquerade: config.ip_masq,
            internal_traffic: config.icc,
        }
    }
}

impl Books {
    /// Empty ones.
    pub(crate) fn new(network: Option<&Network>, config: &Config) -> Result<Self> {
        let addresses = network.map(|network| {
            let subnet = network.bridge.subnet;
            let range = config.fixed_cidr.map_or(subnet, |(address, len)| Subnet::of(address, len));
            if !subnet.contains(range.network()) || !subnet.contains(range.last()) {
                return Err(Error::Config(format!("fixed-cidr {range} is not in the bridge's subnet {subnet}")));
            }
            Ok(Addresses::new(subnet, range, &[network.bridge.address, network.gateway]))
        });
        Ok(Self { addresses: addresses.transpose()?, ports: Ports::default(), endpoints: HashMap::new() })
    }
}

/// Locks. A panic under a lock cannot leave what these locks guard half-changed in a way that a later call minds:
/// sockets match answers by number, and the books change by single insertions and removals.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
