//! A container's place on a network: what is asked for, what was given, what is kept.

use crate::MacAddr;
use gantry_model::Id;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;

/// What a container wants of the default network.
#[derive(Debug, Clone)]
pub struct EndpointRequest {
    /// The container.
    pub container: Id,
    /// A fixed address, or the next free one.
    pub ip: Option<Ipv4Addr>,
    /// A fixed hardware address, or the one that follows from the address as Docker derives it.
    pub mac: Option<MacAddr>,
    /// The ports to publish.
    pub ports: Vec<PortRequest>,
}

/// A port to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRequest {
    /// The port in the container.
    pub container_port: u16,
    /// Its protocol.
    pub proto: Proto,
    /// The host's address; `None` means the daemon's default.
    pub host_ip: Option<IpAddr>,
    /// The first and last host port that will do (the first free one is taken); `None` means any that the
    /// kernel has free.
    pub host_ports: Option<(u16, u16)>,
}

/// A transport protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Proto {
    /// The IP protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// The API's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Proto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A container's place on a network, as it is kept with the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The endpoint's own id.
    pub id: Id,
    /// The container.
    pub container: Id,
    /// Its address.
    pub ip: Ipv4Addr,
    /// The subnet's prefix length.
    pub prefix_len: u8,
    /// Its default gateway.
    pub gateway: Ipv4Addr,
    /// Its hardware address.
    pub mac: MacAddr,
    /// The link's end on the host.
    pub host_ifname: String,
    /// The link's largest packet.
    pub mtu: u32,
    /// The published ports.
    pub ports: Vec<PortBinding>,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortBinding {
    /// The port in the container.
    pub container_port: u16,
    /// Its protocol.
    pub proto: Proto,
    /// The host's address, unspecified for all of them.
    pub host_ip: IpAddr,
    /// The host's port.
    pub host_port: u16,
}

/// A reserved endpoint, and what keeps its ports from other programs.
#[derive(Debug)]
pub struct Allocation {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Sockets bound to the host ports. They never listen: they only stop other programs from binding. Whoever
    /// lives as long as the container (its shim) must hold them, so that a daemon's end does not free the ports.
    pub port_holders: Vec<OwnedFd>,
}

/// The default network, as it is in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeInfo {
    /// The bridge's name.
    pub name: String,
    /// The subnet's first address.
    pub subnet: Ipv4Addr,
    /// The subnet's prefix length.
    pub prefix_len: u8,
    /// The containers' default gateway.
    pub gateway: Ipv4Addr,
    /// The links' largest packet.
    pub mtu: u32,
}
