//! What is whose.

use crate::bridge::Bridge;
use crate::firewall::{Content, LinkRule, NetworkRules, PortElements};
use crate::ipam::Addresses;
use crate::ports::Ports;
use crate::{Endpoint, Net, NetworkSpec, Published, SubnetSpec};
use gantry_model::Id;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) networks: HashMap<Id, Network>,
    /// Networks on record that could not be made.
    pub(crate) absent: HashMap<Id, NetworkSpec>,
    pub(crate) ports: Ports,
    pub(crate) endpoints: HashMap<Id, Endpoint>,
    /// Published ports, by container.
    pub(crate) published: HashMap<Id, Publishing>,
    /// Traffic that is let through on networks whose members do not reach each other, by the container that it is for.
    pub(crate) links: HashMap<Id, HashSet<LinkRule>>,
    /// Published ports are open on the members' own addresses, of every network.
    pub(crate) direct_routing: bool,
    /// The firewall table has been given up.
    pub(crate) closed: bool,
}

/// A network that is there.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) spec: NetworkSpec,
    pub(crate) made: Made,
    pub(crate) pools: Vec<Addresses>,
}

/// What of a network is in the kernel.
#[derive(Debug, Clone)]
pub(crate) enum Made {
    /// A bridge.
    Bridge(Bridge),
    /// Nothing of its own but perhaps the parent, whose name this is.
    Stacked {
        /// The parent's index.
        parent: u32,
    },
    /// Nothing that is known here.
    Elsewhere,
}

/// The ports of a container.
#[derive(Debug, Clone)]
pub(crate) struct Publishing {
    pub(crate) published: Published,
    /// Whether they are in the firewall's maps.
    pub(crate) open: bool,
}

impl Network {
    pub(crate) fn new(spec: NetworkSpec, made: Made) -> Self {
        let pools = spec.subnets.iter().map(Addresses::new).collect();
        Self { spec, made, pools }
    }

    pub(crate) fn bridge(&self) -> Option<&Bridge> {
        match &self.made {
            Made::Bridge(bridge) => Some(bridge),
            Made::Stacked { .. } | Made::Elsewhere => None,
        }
    }

    /// The subnet that an address is in.
    pub(crate) fn subnet(&self, address: IpAddr) -> Option<&SubnetSpec> {
        self.spec.subnets.iter().find(|s| s.subnet.contains(address))
    }

    /// Takes an address back.
    pub(crate) fn free(&mut self, address: IpAddr) {
        let reserved = self.subnet(address).is_some_and(|s| s.gateway == Some(address));
        if let Some(pool) = self.pools.iter_mut().find(|p| p.subnet().contains(address)).filter(|_| !reserved) {
            pool.free(address);
        }
    }
}

impl Books {
    /// Everything that belongs into the firewall.
    pub(crate) fn firewall_content(&self) -> Content {
        let networks: Vec<_> = self.networks.values().filter_map(|network| NetworkRules::of(&network.spec)).collect();
        let mut ports = PortElements::default();
        for publishing in self.published.values().filter(|p| p.open) {
            self.add_ports(&mut ports, &publishing.published);
        }
        let links = self.links.values().flatten().copied().collect();
        Content { networks, ports, links }
    }

    /// The names of the networks' bridges.
    pub(crate) fn bridges(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.networks.values().filter_map(Network::bridge).map(|bridge| bridge.name.clone()).collect();
        names.sort_unstable();
        names
    }

    /// The firewall's elements for the ports of a container.
    pub(crate) fn port_elements(&self, published: &Published) -> PortElements {
        let mut ports = PortElements::default();
        self.add_ports(&mut ports, published);
        ports
    }

    fn add_ports(&self, ports: &mut PortElements, published: &Published) {
        let opens = |id: Option<Id>| {
            if self.direct_routing {
                return [true; 2];
            }
            let spec = id.and_then(|id| self.networks.get(&id)).map(|network| &network.spec);
            spec.and_then(NetworkRules::of).map_or([false; 2], |rules| rules.opens())
        };
        let [v4, v6] = [published.ipv4.map(|t| t.network), published.ipv6.map(|t| t.network)].map(opens);
        ports.add(published, |port| if port.host_ip.is_ipv4() { v4[0] } else { v6[1] });
    }

    /// The subnets of all networks.
    pub(crate) fn subnets(&self) -> impl Iterator<Item = Net> {
        let specs = self.networks.values().map(|network| &network.spec).chain(self.absent.values());
        specs.flat_map(|spec| spec.subnets.iter().map(|s| s.subnet))
    }

    /// Takes back what an endpoint has.
    pub(crate) fn free(&mut self, endpoint: &Endpoint) {
        let Some(network) = self.networks.get_mut(&endpoint.network) else { return };
        let addresses = [endpoint.ipv4.map(|a| a.0.into()), endpoint.ipv6.map(|a| a.0.into())];
        addresses.into_iter().flatten().for_each(|address| network.free(address));
    }
}
