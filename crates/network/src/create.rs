//! Making networks.

use crate::books::{Made, Network};
use crate::bridge::{self, Host};
use crate::firewall::NetworkRules;
use crate::manager::{Shared, lock};
use crate::net::{from_bits, to_bits};
use crate::{
    BridgeOptions, Config, Driver, Error, GatewayMode, Manager, Net, NetworkDraft, NetworkSpec, PoolRequest, Result,
    SubnetSpec, parent, pools,
};
use gantry_linux::netlink::{Socket, namespace, route};
use gantry_model::Id;
use rustix::fs::{FlockOperation, flock};
use std::net::IpAddr;
use std::os::fd::OwnedFd;

impl Manager {
    /// Decides what the draft leaves open and makes the network. Dies the daemon before the answer is on record,
    /// [`restore`](Self::restore) removes what no record names.
    pub fn create(&self, draft: NetworkDraft) -> Result<NetworkSpec> {
        let shared = &self.shared;
        let _making = lock(&shared.making);
        // Against daemons beside this one.
        let _lock = lock_namespace()?;
        let mut driver = draft.driver.clone();
        name_link(&mut driver, &draft.id);
        let host = shared.look_for(&driver)?;
        let spec = shared.decide(NetworkDraft { driver, ..draft }, &host)?;
        shared.install(&spec, &host)?;
        if let Err(e) = shared.meet_docker() {
            tracing::warn!(network = spec.name, "Docker's firewall may be in its way: {e}");
        }
        Ok(spec)
    }
}

impl Shared {
    /// Makes what a network needs in the kernel and puts it into the books; what is there is adopted. After an
    /// error nothing of it is left that was not there.
    pub(crate) fn install(&self, spec: &NetworkSpec, host: &Host) -> Result<()> {
        let made = self.make(spec, host).inspect_err(|_| {
            if let Err(e) = self.delete_own_link(spec) {
                tracing::warn!(network = spec.name, "left behind after a failure: {e}");
            }
        })?;
        let rules = NetworkRules::of(spec);
        lock(&self.books).networks.insert(spec.id, Network::new(spec.clone(), made));
        let Some(rules) = rules else { return Ok(()) };
        let added = self.change_firewall("add a network to", |firewall, socket| firewall.add_network(socket, &rules));
        added.inspect_err(|_| {
            let network = lock(&self.books).networks.remove(&spec.id);
            if let Some(Err(e)) = network.map(|network| self.unmake(&network)) {
                tracing::warn!(network = spec.name, "left behind after a failure: {e}");
            }
        })
    }

    /// Tries once more to make a network that could not be made when the daemon started: its parent was not there yet,
    /// say.
    pub(crate) fn revive(&self, id: &Id) -> Result<()> {
        let Some(spec) = lock(&self.books).absent.get(id).cloned() else { return Ok(()) };
        let _making = lock(&self.making);
        let host = self.look_for(&spec.driver)?;
        self.install(&spec, &host)?;
        lock(&self.books).absent.remove(id);
        Ok(())
    }

    /// Makes or adopts what a network is made of.
    pub(crate) fn make(&self, spec: &NetworkSpec, host: &Host) -> Result<Made> {
        let mut socket = lock(&self.links);
        let alias = format!("{}{}", self.config.alias_prefix(), spec.id);
        match &spec.driver {
            Driver::Bridge(options) => {
                let wanted = wanted(&self.config, spec, options, &alias);
                bridge::ensure(&mut socket, &wanted, host).map(Made::Bridge)
            }
            Driver::Macvlan(options) => {
                let parent = parent::ensure(&mut socket, &options.parent, &alias, host, "a macvlan network")?;
                Ok(Made::Stacked { parent })
            }
            Driver::Ipvlan(options) => {
                let parent = parent::ensure(&mut socket, &options.parent, &alias, host, "an ipvlan network")?;
                parent::probe_ipvlan(&mut socket, parent).map(|()| Made::Stacked { parent })
            }
            Driver::Remote { .. } => Ok(Made::Elsewhere),
        }
    }

    /// Fills in what a draft leaves open, and refuses what is somebody else's.
    fn decide(&self, draft: NetworkDraft, host: &Host) -> Result<NetworkSpec> {
        let driver = draft.driver;
        check_modes(&driver, draft.internal)?;
        let taken: Vec<Net> = {
            let books = lock(&self.books);
            if books.networks.contains_key(&draft.id) {
                return Err(Error::Config(format!("network {} exists already", draft.id)));
            }
            for spec in books.networks.values().map(|network| &network.spec).chain(books.absent.values()) {
                check_link(&driver, draft.id, spec)?;
            }
            books.subnets().collect()
        };
        let mut used = used_by_host(&mut lock(&self.links), host)?;
        used.extend(&taken);
        let mut requests: Vec<_> = draft.pools.into_iter().map(|r| (is_ipv4(&r).unwrap_or(draft.ipv4), r)).collect();
        for (ipv4, wanted) in [(true, draft.ipv4), (false, draft.ipv6)] {
            requests.retain(|(of, _)| *of != ipv4 || wanted);
            if wanted && requests.iter().all(|(of, _)| *of != ipv4) {
                requests.push((ipv4, PoolRequest::default()));
            }
        }
        let mut subnets: Vec<SubnetSpec> = Vec::new();
        for (ipv4, request) in requests {
            let mut others = taken.iter().copied().chain(subnets.iter().map(|s| s.subnet));
            let subnet = match request.subnet {
                Some(subnet) if others.any(|other| other.overlaps(subnet)) => return Err(Error::PoolOverlap(subnet)),
                Some(subnet) => subnet,
                None => pools::choose(&self.config.address_pools, ipv4, &host_seed(&self.config), &used)?,
            };
            used.push(subnet);
            subnets.push(with_gateway(request, subnet, leads_out(&driver, draft.internal, subnet))?);
        }
        Ok(NetworkSpec { id: draft.id, name: draft.name, driver, internal: draft.internal, subnets })
    }
}

/// Names the bridge or parent that nobody named.
fn name_link(driver: &mut Driver, id: &Id) {
    let short = &id.to_string()[..12];
    let (name, prefix) = match driver {
        Driver::Bridge(options) => (&mut options.ifname, "br"),
        Driver::Macvlan(options) => (&mut options.parent, "dm"),
        Driver::Ipvlan(options) => (&mut options.parent, "di"),
        Driver::Remote { .. } => return,
    };
    if name.is_empty() {
        *name = format!("{prefix}-{short}");
    }
}

/// The family that a request speaks of.
fn is_ipv4(request: &PoolRequest) -> Option<bool> {
    let net = request.subnet.or(request.range).map(Net::is_ipv4);
    net.or_else(|| request.gateway.iter().chain(request.aux.values()).next().map(IpAddr::is_ipv4))
}

/// What a network's bridge is to be like.
fn wanted<'a>(config: &Config, spec: &NetworkSpec, options: &'a BridgeOptions, alias: &'a str) -> bridge::Wanted<'a> {
    let mode = |subnet: Net| if subnet.is_ipv4() { options.gateway_mode_v4 } else { options.gateway_mode_v6 };
    let addressed = |subnet: Net| mode(subnet) != GatewayMode::Isolated && !(subnet.is_ipv4() && options.inhibit_ipv4);
    let addresses = spec.subnets.iter().filter(|s| addressed(s.subnet));
    bridge::Wanted {
        name: &options.ifname,
        make: true,
        alias,
        mtu: options.mtu,
        addresses: addresses.filter_map(|s| s.gateway.map(|ip| (ip, s.subnet.prefix_len()))).collect(),
        only: [false; 2],
        icc: options.icc,
        publishes: config.firewall && !spec.internal && options.gateway_mode_v4.translates(),
        forward: config.ip_forward && !spec.internal,
    }
}

/// Whether a subnet has a gateway although nobody asked for one. Where there is no way out, a bridge has an address for
/// the host's sake; a parent's network has not.
fn leads_out(driver: &Driver, internal: bool, subnet: Net) -> bool {
    match driver {
        Driver::Bridge(options) => {
            let mode = if subnet.is_ipv4() { options.gateway_mode_v4 } else { options.gateway_mode_v6 };
            mode != GatewayMode::Isolated
        }
        Driver::Macvlan(_) | Driver::Ipvlan(_) | Driver::Remote { .. } => !internal,
    }
}

/// A subnet with what was said about it, and its first address as the gateway if nothing was.
fn with_gateway(request: PoolRequest, subnet: Net, leads_out: bool) -> Result<SubnetSpec> {
    let outside = |what, value: String| Err(Error::OutsideSubnet { what, value, subnet });
    if let Some(range) = request.range.filter(|range| !subnet.contains_net(*range)) {
        return outside("range", range.to_string());
    }
    if let Some(ip) = request.gateway.iter().chain(request.aux.values()).find(|ip| !subnet.contains(**ip)) {
        return outside("address", ip.to_string());
    }
    let mut spec = SubnetSpec { subnet, range: request.range, gateway: request.gateway, aux: request.aux };
    if spec.gateway.is_none() && leads_out {
        let mut pool = crate::ipam::Addresses::new(&spec);
        spec.gateway = pool.take_next();
    }
    if let Some(gateway) = spec.gateway
        && spec.aux.values().any(|ip| *ip == gateway)
    {
        return Err(Error::AddressInUse(gateway));
    }
    Ok(spec)
}

fn check_modes(driver: &Driver, internal: bool) -> Result<()> {
    let Driver::Bridge(options) = driver else { return Ok(()) };
    let isolated = [options.gateway_mode_v4, options.gateway_mode_v6].contains(&GatewayMode::Isolated);
    if isolated && !internal {
        return Err(Error::Config("gateway mode 'isolated' can only be used for an internal network".to_owned()));
    }
    Ok(())
}

/// Refuses a bridge or a parent that another network has.
fn check_link(driver: &Driver, id: Id, other: &NetworkSpec) -> Result<()> {
    match (driver, &other.driver) {
        (Driver::Bridge(new), Driver::Bridge(old)) if new.ifname == old.ifname => {
            Err(Error::BridgeTaken { id, other: other.id, bridge: new.ifname.clone() })
        }
        (Driver::Macvlan(new), Driver::Macvlan(old)) if new.parent == old.parent => {
            Err(Error::ParentTaken { other: other.name.clone(), parent: new.parent.clone() })
        }
        (Driver::Ipvlan(new), Driver::Ipvlan(old)) if new.parent == old.parent => {
            Err(Error::ParentTaken { other: other.name.clone(), parent: new.parent.clone() })
        }
        _ => Ok(()),
    }
}

/// The first address of a subnet that a host may have.
pub(crate) fn first_address(subnet: Net) -> IpAddr {
    let first = to_bits(subnet.first());
    let address = from_bits(first, subnet.is_ipv4());
    if subnet.is_host(address) { address } else { from_bits(first + 1, subnet.is_ipv4()) }
}

/// The subnets that the host has addresses in or routes to.
pub(crate) fn used_by_host(socket: &mut Socket, host: &Host) -> Result<Vec<Net>> {
    let routes = route::routes(socket).map_err(|e| Error::kernel("list routes")(e.into()))?;
    // A default route covers everything and says nothing, and neither do the halves that VPNs split it into.
    let routed = routes.iter().filter(|r| r.prefix_len > 1).map(|r| Net::of(r.destination, r.prefix_len));
    Ok(host.addresses.iter().map(|a| Net::of(a.address, a.prefix_len)).chain(routed).collect())
}

/// The network namespace, locked against other daemons: it is exactly what they share. The lock ends with the
/// descriptor.
pub(crate) fn lock_namespace() -> Result<OwnedFd> {
    let namespace = namespace::current().map_err(Error::kernel("open the network namespace"))?;
    flock(&namespace, FlockOperation::LockExclusive)
        .map_err(|e| Error::kernel("lock the network namespace")(e.into()))?;
    Ok(namespace)
}

/// What tells this host from others.
pub(crate) fn host_seed(config: &Config) -> Vec<u8> {
    let mut seed = std::fs::read("/etc/machine-id").unwrap_or_default();
    if seed.is_empty() {
        seed = rustix::system::uname().nodename().to_bytes().to_vec();
    }
    seed.extend_from_slice(config.instance.as_bytes());
    seed
}
