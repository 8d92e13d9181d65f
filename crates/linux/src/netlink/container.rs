//! What a container's own process does to the network namespace it was born in.

use std::io;
use std::net::Ipv4Addr;

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
    let _ = interface;
    todo!()
}

/// Brings the loopback up.
pub fn loopback_up() -> io::Result<()> {
    todo!()
}
