//! What can go wrong, with the words that clients know from Docker.

use crate::{Net, Proto};
use gantry_model::{Error as ModelError, ErrorKind, Id};
use std::io;
use std::net::{IpAddr, SocketAddr};

/// A failure of the network room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The daemon runs without a default network.
    #[error("the default bridge network is disabled")]
    NoDefaultBridge,
    /// A container of this daemon has the port.
    #[error("Bind for {0} failed: port is already allocated")]
    PortAllocated(SocketAddr),
    /// Every port of the range is taken by containers of this daemon.
    #[error("Bind for {ip}:{first}-{last} failed: all ports are allocated")]
    PortRangeAllocated {
        /// The host's address.
        ip: IpAddr,
        /// The range's first port.
        first: u16,
        /// The range's last port.
        last: u16,
    },
    /// The kernel refused the port: another program has it, or the address is not this host's.
    #[error("failed to bind host port for {host}:{container}/{proto}: {}", strerror(source))]
    PortBind {
        /// The host's side.
        host: SocketAddr,
        /// The container's side.
        container: SocketAddr,
        /// The protocol.
        proto: Proto,
        /// The kernel's reason.
        source: io::Error,
    },
    /// Ports can be published on IPv4 addresses only.
    #[error("cannot publish a port on {0}: the network has no IPv6 addresses")]
    PortOnIpv6(IpAddr),
    /// Published ports need rules, and the daemon may write none.
    #[error("the daemon runs with iptables=false, and a port like this takes rules of the firewall")]
    FirewallDisabled,
    /// The subnets of a family are full.
    #[error("no available {} addresses on this network's address pools: {name} ({id})", family(*ipv4))]
    SubnetFull {
        /// The family.
        ipv4: bool,
        /// The network's name.
        name: String,
        /// Its id.
        id: Id,
    },
    /// Every subnet overlaps one that the host already routes.
    #[error(
        "could not find an available, non-overlapping {} address pool among the defaults to assign to the network",
        family(*ipv4)
    )]
    PoolsExhausted {
        /// The family.
        ipv4: bool,
    },
    /// Another network has the subnet, or a part of it.
    #[error("Pool overlaps with other one on this address space")]
    PoolOverlap(Net),
    /// A range, gateway or auxiliary address is not in its subnet.
    #[error("{what} {value} is not in the subnet {subnet}")]
    OutsideSubnet {
        /// What it is.
        what: &'static str,
        /// What was given.
        value: String,
        /// The subnet.
        subnet: Net,
    },
    /// The bridge of another network.
    #[error(
        "cannot create network {id} ({bridge}): conflicts with network {other} ({bridge}): networks have same bridge name"
    )]
    BridgeTaken {
        /// The new network.
        id: Id,
        /// The other one.
        other: Id,
        /// The bridge.
        bridge: String,
    },
    /// The parent of another network.
    #[error("network {other} is already using parent interface {parent}")]
    ParentTaken {
        /// The other network.
        other: String,
        /// The parent.
        parent: String,
    },
    /// The parent is not there.
    #[error("the parent interface {0} does not exist on this host")]
    ParentMissing(String),
    /// The kernel lacks a kind of link.
    #[error("{what} needs {kind} interfaces, which this host's kernel does not have{hint}")]
    KernelLacks {
        /// What was to be made.
        what: &'static str,
        /// The kind of link.
        kind: &'static str,
        /// What can be done instead.
        hint: &'static str,
    },
    /// There is no such network.
    #[error("network {0} not found")]
    UnknownNetwork(Id),
    /// Containers are on the network.
    #[error("network {name} id {id} has active endpoints")]
    ActiveEndpoints {
        /// The network's name.
        name: String,
        /// Its id.
        id: Id,
    },
    /// A driver's option makes no sense.
    #[error("invalid value for option {key}: {value:?}")]
    Option {
        /// The option.
        key: String,
        /// What was given.
        value: String,
    },
    /// The wanted address is taken.
    #[error("Address already in use")]
    AddressInUse(IpAddr),
    /// The wanted address is none of the subnet's.
    #[error("invalid address {0}: It does not belong to any of this network's subnets")]
    AddressOutside(IpAddr),
    /// A setting makes no sense.
    #[error("{0}")]
    Config(String),
    /// The administrator's bridge is missing, or no bridge.
    #[error("bridge device {0} does not exist or is not a bridge; it must be created before the daemon starts")]
    BridgeMissing(String),
    /// The kernel refused an operation.
    #[error("{what}: {source}")]
    Kernel {
        /// What was being done.
        what: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// Several parts of a tear-down failed; the rest was done.
    #[error("{}", join(.0))]
    Several(Vec<Error>),
}

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// For `map_err`: an I/O error while doing `what`.
    pub(crate) fn kernel(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Kernel { what, source }
    }

    /// One error out of those that a tear-down gathered, if any.
    pub(crate) fn gather(mut errors: Vec<Self>) -> Result<()> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Several(errors)),
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::PortOnIpv6(_)
            | Self::AddressOutside(_)
            | Self::OutsideSubnet { .. }
            | Self::Option { .. }
            | Self::Config(_)
            | Self::ParentMissing(_) => ErrorKind::InvalidArgument,
            Self::NoDefaultBridge | Self::BridgeMissing(_) | Self::UnknownNetwork(_) => ErrorKind::NotFound,
            Self::AddressInUse(_)
            | Self::FirewallDisabled
            | Self::PoolOverlap(_)
            | Self::BridgeTaken { .. }
            | Self::ParentTaken { .. }
            | Self::ActiveEndpoints { .. } => ErrorKind::Forbidden,
            Self::KernelLacks { .. } => ErrorKind::NotImplemented,
            // Docker answers 500 where a port cannot be had, and clients match on that.
            Self::PortAllocated(_)
            | Self::PortRangeAllocated { .. }
            | Self::PortBind { .. }
            | Self::SubnetFull { .. }
            | Self::PoolsExhausted { .. }
            | Self::Kernel { .. }
            | Self::Several(_) => ErrorKind::Internal,
        }
    }
}

impl From<Error> for ModelError {
    fn from(e: Error) -> Self {
        Self::new(e.kind(), e.to_string()).with_source(e)
    }
}

/// The reason in the words of C's `strerror` in lower case, as Go prints errno values and clients match them.
fn strerror(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::AddrInUse => "address already in use".to_owned(),
        io::ErrorKind::AddrNotAvailable => "cannot assign requested address".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => e.to_string(),
    }
}

const fn family(ipv4: bool) -> &'static str {
    if ipv4 { "IPv4" } else { "IPv6" }
}

fn join(errors: &[Error]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
