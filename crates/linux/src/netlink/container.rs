//! What a container's own process does to the network namespace it was born in.

use super::route::{self, add_address, add_default_route, set_interface_up, set_link_up};
use super::{Batch, Protocol, Socket};
use std::io;
use std::net::Ipv4Addr;

/// The loopback is the first link of every network namespace.
const LOOPBACK: u32 = 1;

/// How the container's end of its link is to be configured.
#[derive(Debug, Clone, Copy)]
pub struct ContainerInterface<'a> {
    /// The interface's name in the container.
    pub name: &'a str,
    /// Its address.
    pub address: Ipv4Addr,
    /// The subnet's prefix length.
    pub prefix_len: u8,
    /// The default gateway.
    pub gateway: Option<Ipv4Addr>,
    /// The largest packet; 0 leaves it as it is.
    pub mtu: u32,
}

/// Brings the loopback and `interface` up and sets its address and the default route.
/// The caller is in the network namespace and the interface is there already.
pub fn configure(interface: &ContainerInterface<'_>) -> io::Result<()> {
    let mut socket = Socket::open(Protocol::Route)?;
    // Addresses and routes name their link by number only.
    let link = route::link_by_name(&mut socket, interface.name)?
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no interface {}", interface.name)))?;
    let mut batch = Batch::new();
    set_link_up(&mut batch, LOOPBACK);
    add_address(&mut batch, link.index, interface.address, interface.prefix_len);
    set_interface_up(&mut batch, link.index, interface.mtu);
    if let Some(gateway) = interface.gateway {
        // After the link is up: the kernel refuses a gateway that it cannot reach yet.
        add_default_route(&mut batch, link.index, gateway);
    }
    Ok(socket.transact(&mut batch)?)
}

/// Brings the loopback up.
pub fn loopback_up() -> io::Result<()> {
    let mut batch = Batch::new();
    set_link_up(&mut batch, LOOPBACK);
    Ok(Socket::open(Protocol::Route)?.transact(&mut batch)?)
}
