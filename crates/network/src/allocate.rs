//! Reserving a place on a network.

use crate::books::{Books, Network};
use crate::manager::lock;
use crate::{Config, Driver, Endpoint, EndpointRequest, Error, GatewayMode, MacAddr, Manager, Result};
use gantry_linux::netlink::route::IpvlanMode;
use gantry_model::Id;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest name of a link.
const IFNAME_LEN: usize = 15;

impl Manager {
    /// Reserves addresses. Nothing changes in the kernel.
    pub fn allocate(&self, request: &EndpointRequest) -> Result<Endpoint> {
        self.shared.revive(&request.network)?;
        let mut books = lock(&self.shared.books);
        let (id, host_ifname) = fresh_id(&books, &self.shared.config);
        let network = books.networks.get_mut(&request.network).ok_or(Error::UnknownNetwork(request.network))?;
        let ipv4 = network.take_ipv4(request.ipv4)?;
        let ipv6 = match network.take_ipv6(request.ipv6) {
            Ok(ipv6) => ipv6,
            Err(e) => {
                if let Some((ip, _)) = ipv4 {
                    network.free(ip.into());
                }
                return Err(e);
            }
        };
        let bridged = matches!(network.spec.driver, Driver::Bridge(_));
        let endpoint = Endpoint {
            id,
            network: request.network,
            container: request.container,
            ipv4,
            ipv6,
            link_local: request.link_local.clone(),
            gateway_v4: ipv4.and_then(|(ip, _)| network.gateway(ip.into())).and_then(|ip| match ip {
                IpAddr::V4(ip) => Some(ip),
                IpAddr::V6(_) => None,
            }),
            gateway_v6: ipv6.and_then(|(ip, _)| network.gateway(ip.into())).and_then(|ip| match ip {
                IpAddr::V6(ip) => Some(ip),
                IpAddr::V4(_) => None,
            }),
            mac: network.mac(request.mac, ipv4, ipv6),
            host_ifname: if bridged { host_ifname } else { String::new() },
            mtu: network.mtu(),
            gatewayless: network.is_gatewayless(),
            ignore_routers: bridged,
        };
        books.endpoints.insert(id, endpoint.clone());
        Ok(endpoint)
    }
}

impl Network {
    fn take_ipv4(&mut self, wanted: Option<Ipv4Addr>) -> Result<Option<(Ipv4Addr, u8)>> {
        Ok(match self.take(wanted.map(Into::into), true)? {
            Some((IpAddr::V4(ip), len)) => Some((ip, len)),
            _ => None,
        })
    }

    fn take_ipv6(&mut self, wanted: Option<Ipv6Addr>) -> Result<Option<(Ipv6Addr, u8)>> {
        Ok(match self.take(wanted.map(Into::into), false)? {
            Some((IpAddr::V6(ip), len)) => Some((ip, len)),
            _ => None,
        })
    }

    /// Takes an address of a family; `None` if the network has none of it.
    fn take(&mut self, wanted: Option<IpAddr>, ipv4: bool) -> Result<Option<(IpAddr, u8)>> {
        if let Some(ip) = wanted {
            let pool = self.pools.iter_mut().find(|p| p.subnet().contains(ip)).ok_or(Error::AddressOutside(ip))?;
            pool.take(ip)?;
            return Ok(Some((ip, pool.subnet().prefix_len())));
        }
        let mut any = false;
        for pool in self.pools.iter_mut().filter(|p| p.subnet().is_ipv4() == ipv4) {
            any = true;
            if let Some(ip) = pool.take_next() {
                return Ok(Some((ip, pool.subnet().prefix_len())));
            }
        }
        if any { Err(Error::SubnetFull { ipv4, name: self.spec.name.clone(), id: self.spec.id }) } else { Ok(None) }
    }

    /// The way out for a member with that address.
    fn gateway(&self, ip: IpAddr) -> Option<IpAddr> {
        if self.spec.internal || self.is_gatewayless() {
            return None;
        }
        if let Driver::Bridge(options) = &self.spec.driver {
            let mode = if ip.is_ipv4() { options.gateway_mode_v4 } else { options.gateway_mode_v6 };
            if mode == GatewayMode::Isolated {
                return None;
            }
        }
        self.subnet(ip).and_then(|subnet| subnet.gateway)
    }

    fn is_gatewayless(&self) -> bool {
        matches!(&self.spec.driver, Driver::Ipvlan(options) if options.mode != IpvlanMode::L2 && !self.spec.internal)
    }

    fn mac(&self, wanted: Option<MacAddr>, v4: Option<(Ipv4Addr, u8)>, v6: Option<(Ipv6Addr, u8)>) -> Option<MacAddr> {
        if matches!(self.spec.driver, Driver::Ipvlan(_)) {
            return None;
        }
        // Its driver may have one.
        if matches!(self.spec.driver, Driver::Remote { .. }) {
            return wanted;
        }
        let of_address =
            || v4.map_or_else(|| v6.map(|(ip, _)| MacAddr::from_ipv6(ip)), |(ip, _)| Some(MacAddr::from_ipv4(ip)));
        // On a network of neither family there is nothing that it could follow from.
        wanted.or_else(of_address).or_else(|| Some(MacAddr::random()))
    }

    fn mtu(&self) -> u32 {
        match &self.spec.driver {
            Driver::Bridge(options) => options.mtu,
            Driver::Macvlan(options) => options.mtu,
            Driver::Ipvlan(options) => options.mtu,
            Driver::Remote { .. } => 0,
        }
    }
}

/// An id whose link's name, which is made of the id's beginning, no other endpoint has.
fn fresh_id(books: &Books, config: &Config) -> (Id, String) {
    loop {
        let id = Id::random();
        let mut name = config.link_prefix();
        name.push_str(&id.to_string()[..IFNAME_LEN - name.len()]);
        if !books.endpoints.values().any(|e| e.host_ifname == name) {
            return (id, name);
        }
    }
}
