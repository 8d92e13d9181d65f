//! A container's place on a network: what is asked for, what was given, what is kept.

use crate::MacAddr;
use gantry_linux::netlink::container::{Interface, Layout, Route};
use gantry_model::Id;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a container wants of a network.
#[derive(Debug, Clone)]
pub struct EndpointRequest {
    /// The network.
    pub network: Id,
    /// The container.
    pub container: Id,
    /// A fixed address, or the next free one.
    pub ipv4: Option<Ipv4Addr>,
    /// A fixed address, or the next free one.
    pub ipv6: Option<Ipv6Addr>,
    /// More addresses, of which nobody keeps books.
    pub link_local: Vec<IpAddr>,
    /// A fixed hardware address, or the one that follows from the address as Docker derives it.
    pub mac: Option<MacAddr>,
}

impl EndpointRequest {
    /// Any place.
    pub fn new(network: Id, container: Id) -> Self {
        Self { network, container, ipv4: None, ipv6: None, link_local: Vec::new(), mac: None }
    }
}

/// A container's place on a network, as it is kept with the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The endpoint's own id.
    pub id: Id,
    /// The network.
    pub network: Id,
    /// The container.
    pub container: Id,
    /// Its address and the subnet's prefix length.
    pub ipv4: Option<(Ipv4Addr, u8)>,
    /// Its address and the subnet's prefix length.
    pub ipv6: Option<(Ipv6Addr, u8)>,
    /// More addresses.
    pub link_local: Vec<IpAddr>,
    /// The way out by this endpoint, if there is one.
    pub gateway_v4: Option<Ipv4Addr>,
    /// The way out by this endpoint, if there is one.
    pub gateway_v6: Option<Ipv6Addr>,
    /// Its hardware address; `None` where it is the parent's (ipvlan).
    pub mac: Option<MacAddr>,
    /// The link's end on the host; empty where there is none (macvlan, ipvlan).
    pub host_ifname: String,
    /// The link's largest packet; 0 for the kernel's choice.
    pub mtu: u32,
    /// Whether everything beyond is reached without a gateway (ipvlan above layer 2).
    pub gatewayless: bool,
    /// Whether others on the network may not tell the container where its routers are.
    pub ignore_routers: bool,
}

impl Endpoint {
    /// Whether it has a way out with IPv4.
    pub const fn leads_out_v4(&self) -> bool {
        self.gateway_v4.is_some() || (self.gatewayless && self.ipv4.is_some())
    }

    /// Whether it has a way out with IPv6.
    pub const fn leads_out_v6(&self) -> bool {
        self.gateway_v6.is_some() || (self.gatewayless && self.ipv6.is_some())
    }

    /// The interface as the container's side of it is to be configured.
    fn interface(&self, name: &str) -> Interface {
        let link_local_len = |ip: &IpAddr| if ip.is_ipv4() { 16 } else { 64 };
        let mut addresses = Vec::new();
        addresses.extend(self.ipv4.map(|(ip, len)| (ip.into(), len)));
        addresses.extend(self.ipv6.map(|(ip, len)| (ip.into(), len)));
        addresses.extend(self.link_local.iter().map(|ip| (*ip, link_local_len(ip))));
        let has_ipv6 = addresses.iter().any(|(ip, _)| ip.is_ipv6());
        let mut settings = vec![("disable_ipv6", if has_ipv6 { "0" } else { "1" })];
        if has_ipv6 {
            // Addresses are known to be unique; asking around takes a second in which the link-local one is unusable.
            settings.push(("accept_dad", "0"));
            if self.ignore_routers {
                settings.push(("accept_ra", "0"));
            }
        }
        let key = |key: &str| format!("ipv6/conf/{name}/{key}");
        let settings = settings.into_iter().map(|(k, v)| (key(k), v.to_owned())).collect();
        Interface { name: name.to_owned(), addresses, settings }
    }
}

/// By which of its endpoints a container reaches the outside, and is reached on its published ports.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gateways<'a> {
    /// With IPv4.
    pub v4: Option<&'a Endpoint>,
    /// With IPv6.
    pub v6: Option<&'a Endpoint>,
}

impl<'a> Gateways<'a> {
    /// The one that counts where only one can: IPv4's, if there is one.
    pub fn chosen(&self) -> Option<&'a Endpoint> {
        self.v4.or(self.v6)
    }

    /// The first of each family that leads out.
    pub fn first_of(endpoints: impl IntoIterator<Item = &'a Endpoint> + Clone) -> Self {
        Self {
            v4: endpoints.clone().into_iter().find(|e| e.leads_out_v4()),
            v6: endpoints.into_iter().find(|e| e.leads_out_v6()),
        }
    }
}

/// How the network namespace of a container is to look that has these endpoints under these names.
pub fn layout<'a>(members: impl IntoIterator<Item = (&'a str, &'a Endpoint)>, gateways: Gateways<'_>) -> Layout {
    let mut layout = Layout::default();
    for (name, endpoint) in members {
        layout.interfaces.push(endpoint.interface(name));
        let is = |gateway: Option<&Endpoint>| gateway.is_some_and(|g| g.id == endpoint.id);
        if is(gateways.v4) {
            layout.routes.extend(default_route(
                name,
                endpoint.gateway_v4.map(Into::into),
                endpoint.ipv4.is_some(),
                true,
            ));
        }
        if is(gateways.v6) {
            layout.routes.extend(default_route(
                name,
                endpoint.gateway_v6.map(Into::into),
                endpoint.ipv6.is_some(),
                false,
            ));
        }
    }
    layout
}

fn default_route(name: &str, gateway: Option<IpAddr>, addressed: bool, ipv4: bool) -> Option<Route> {
    let any = if ipv4 { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let route = Route { interface: name.to_owned(), destination: any, prefix_len: 0, gateway };
    (addressed || gateway.is_some()).then_some(route)
}
