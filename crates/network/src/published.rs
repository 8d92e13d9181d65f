//! Published ports: what is asked for, what was given, what is kept.

use gantry_model::Id;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

/// A port to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRequest {
    /// The port in the container.
    pub container_port: u16,
    /// Its protocol.
    pub proto: Proto,
    /// The host's address; `None` means the network's, or else the daemon's default.
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

    /// Whether a shim can carry it.
    pub(crate) const fn can_be_forwarded(self) -> bool {
        matches!(self, Self::Tcp | Self::Udp)
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

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortBinding {
    /// The port in the container.
    pub container_port: u16,
    /// Its protocol.
    pub proto: Proto,
    /// The host's address, unspecified for all of its family.
    pub host_ip: IpAddr,
    /// The host's port; 0 where the container is reached by its own address alone (gateway mode `routed`).
    pub host_port: u16,
}

impl PortBinding {
    /// Whether the container's shim serves it, if it serves its family.
    pub(crate) fn is_forwarded(&self, forwarding: [bool; 2]) -> bool {
        forwarding[usize::from(self.host_ip.is_ipv6())] && self.proto.can_be_forwarded() && self.host_port != 0
    }
}

/// All published ports of a container, as they are kept with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The container.
    pub container: Id,
    /// The address that IPv4 ports lead to.
    pub ipv4: Option<Target<Ipv4Addr>>,
    /// The address that IPv6 ports lead to.
    pub ipv6: Option<Target<Ipv6Addr>>,
    /// The ports.
    pub bindings: Vec<PortBinding>,
    /// Whether the container's shim serves its IPv6 ports: what the kernel has not translated.
    #[serde(default)]
    pub forwarded: bool,
    /// Whether it serves those of IPv4, too: there was no firewall to translate them.
    #[serde(default)]
    pub forwarded_v4: bool,
}

/// Where ports lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target<A> {
    /// The network of the endpoint.
    pub network: Id,
    /// Its address.
    pub address: A,
}

impl Published {
    /// The container's address that a port leads to; `None` while it leads nowhere.
    pub fn target(&self, binding: &PortBinding) -> Option<IpAddr> {
        let forwarded =
            || self.forwarding_target().filter(|_| binding.is_forwarded([self.forwarded_v4, self.forwarded]));
        self.translation(binding).or_else(forwarded)
    }

    /// The container's address to which the kernel translates a port's: one of the same family.
    pub(crate) fn translation(&self, binding: &PortBinding) -> Option<IpAddr> {
        match binding.host_ip {
            IpAddr::V4(_) => self.ipv4.map(|t| t.address.into()),
            IpAddr::V6(_) => self.ipv6.map(|t| t.address.into()),
        }
    }

    /// The container's address to which its shim carries what has not been translated; `None` while there is none.
    pub fn forwarding_target(&self) -> Option<IpAddr> {
        let v6 = self.ipv6.map(|t| t.address.into());
        v6.or_else(|| self.ipv4.map(|t| t.address.into()))
    }

    /// Whether a datagram port is among them.
    pub fn has_datagrams(&self) -> bool {
        self.bindings.iter().any(|p| p.proto == Proto::Udp)
    }
}

/// Reserved ports, and what keeps them from other programs.
#[derive(Debug)]
pub struct Publication {
    /// The ports.
    pub published: Published,
    /// Sockets bound to the host ports, which stop other programs from binding. Whoever lives as long as the container
    /// (its shim) must hold them, so that a daemon's end does not free the ports.
    pub holders: Vec<OwnedFd>,
    /// Those of them that the shim is to serve besides.
    pub forwards: Vec<Forward>,
}

/// A holder that is to be served: what comes to it goes to the container's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// Its place among the holders.
    pub holder: usize,
    /// The protocol, TCP or UDP.
    pub proto: Proto,
    /// The container's port.
    pub container_port: u16,
}
