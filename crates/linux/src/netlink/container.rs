//! What is done to a container's network namespace from inside it.

use super::route::{self, ensure_address, replace_route, set_interface_up, set_link_up};
use super::{Batch, Protocol, Socket};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The loopback is the first link of every network namespace.
const LOOPBACK: u32 = 1;

/// How a network namespace is to look, beside its loopback.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// The interfaces, which are there already.
    pub interfaces: Vec<Interface>,
    /// Routes by them, default routes among them. Those to the interfaces' own subnets follow from their addresses.
    pub routes: Vec<Route>,
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its addresses, each with the prefix length of its subnet.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Settings below `net/` that must be in force before it is up, `ipv6/conf/eth0/accept_ra`.
    pub settings: Vec<(String, String)>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The interface that it goes out by.
    pub interface: String,
    /// Where it goes; the unspecified address in a default route.
    pub destination: IpAddr,
    /// How much of that counts.
    pub prefix_len: u8,
    /// The next router; `None` when everybody is a neighbour.
    pub gateway: Option<IpAddr>,
}

impl Route {
    /// A default route.
    pub fn default_by(interface: &str, gateway: IpAddr) -> Self {
        let destination = match gateway {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        Self { interface: interface.to_owned(), destination, prefix_len: 0, gateway: Some(gateway) }
    }
}

/// Brings the loopback and the interfaces up, with what the layout says. What is there already is fine. The caller is
/// in the network namespace; `set` writes a setting, and what it says of a missing one is not minded where it would
/// switch IPv6 off in a kernel that has none.
pub fn apply(layout: &Layout, mut set: impl FnMut(&str, &str) -> io::Result<()>) -> io::Result<()> {
    let mut socket = Socket::open(Protocol::Route)?;
    let mut batch = Batch::new();
    set_link_up(&mut batch, LOOPBACK);
    let mut links = HashMap::new();
    for interface in &layout.interfaces {
        // Addresses and routes name their link by number only.
        let index = index(&mut socket, &interface.name)?;
        links.insert(interface.name.as_str(), index);
        // A link whose packets are too small for it has none either.
        let mut knows_ipv6 = true;
        for (key, value) in &interface.settings {
            match set(key, value) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => knows_ipv6 &= !key.starts_with("ipv6/"),
                other => other.map_err(|e| about(&e, &format!("set net/{key} to {value}")))?,
            }
        }
        for (address, prefix_len) in &interface.addresses {
            ensure_address(&mut batch, index, *address, *prefix_len);
        }
        let ipv6 = interface.addresses.iter().any(|(address, _)| address.is_ipv6());
        set_interface_up(&mut batch, index, ipv6 || !knows_ipv6);
    }
    // After the links are up: the kernel refuses a gateway that it cannot reach yet.
    for route in &layout.routes {
        let name = route.interface.as_str();
        let index = links.get(name).copied().map_or_else(|| index(&mut socket, name), Ok)?;
        replace_route(&mut batch, index, route.destination, route.prefix_len, route.gateway);
    }
    Ok(socket.transact(&mut batch)?)
}

/// The same in a namespace that has been used: default routes that the layout does not have are removed first.
pub fn change(layout: &Layout, set: impl FnMut(&str, &str) -> io::Result<()>) -> io::Result<()> {
    let mut socket = Socket::open(Protocol::Route)?;
    let mut wanted = HashMap::new();
    for route in layout.routes.iter().filter(|r| r.prefix_len == 0) {
        wanted.insert(route.destination.is_ipv6(), index(&mut socket, &route.interface)?);
    }
    let mut batch = Batch::new();
    for route in route::routes(&mut socket)?.iter().filter(|r| r.prefix_len == 0) {
        let ipv6 = route.destination.is_ipv6();
        if let Some(link) = route.link.filter(|link| *link != LOOPBACK && wanted.get(&ipv6) != Some(link)) {
            route::delete_default_route(&mut batch, link, ipv6);
        }
    }
    // One that has gone meanwhile is as good.
    if let Some(refusal) = socket.exchange(&mut batch)?.into_iter().find(|r| r.errno != Errno::SRCH) {
        return Err(refusal.errno.into());
    }
    apply(layout, set)
}

/// Brings the loopback up.
pub fn loopback_up() -> io::Result<()> {
    let mut batch = Batch::new();
    set_link_up(&mut batch, LOOPBACK);
    Ok(Socket::open(Protocol::Route)?.transact(&mut batch)?)
}

fn index(socket: &mut Socket, name: &str) -> io::Result<u32> {
    let link = route::link_by_name(socket, name)?;
    link.map(|l| l.index).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no interface {name}")))
}

fn about(e: &io::Error, what: &str) -> io::Error {
    io::Error::new(e.kind(), format!("{what}: {e}"))
}
