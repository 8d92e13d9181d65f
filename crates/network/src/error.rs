//! What can go wrong, with the words that clients know from Docker.

use crate::Proto;
use gantry_model::{Error as ModelError, ErrorKind};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

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
    #[error("cannot publish ports: the daemon runs with iptables=false")]
    FirewallDisabled,
    /// The subnet is full.
    #[error("no available IPv4 addresses on this network's address pools: bridge")]
    SubnetFull,
    /// Every subnet overlaps one that the host already routes.
    #[error(
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network"
    )]
    PoolsExhausted,
    /// The wanted address is taken.
    #[error("Address already in use")]
    AddressInUse(Ipv4Addr),
    /// The wanted address is none of the subnet's.
    #[error("invalid address {0}: It does not belong to any of this network's subnets")]
    AddressOutside(Ipv4Addr),
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
            Self::PortOnIpv6(_) | Self::AddressOutside(_) | Self::Config(_) => ErrorKind::InvalidArgument,
            Self::NoDefaultBridge | Self::BridgeMissing(_) => ErrorKind::NotFound,
            Self::AddressInUse(_) | Self::FirewallDisabled => ErrorKind::Forbidden,
            // Docker answers 500 where a port cannot be had, and clients match on that.
            Self::PortAllocated(_)
            | Self::PortRangeAllocated { .. }
            | Self::PortBind { .. }
            | Self::SubnetFull
            | Self::PoolsExhausted
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

fn join(errors: &[Error]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
