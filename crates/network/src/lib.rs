//! Container networks: addresses, links, published ports and the firewall that belongs to them.
//!
//! [`Manager`] owns everything Gantry has in the host's network namespace. It talks to the kernel by netlink
//! only and starts no process: published ports are address translation by nftables, and where that cannot be
//! ([`Forward`]) the sockets that hold the ports are served by whoever holds them. All of it survives the daemon; a new [`Manager`] adopts what it finds and
//! [`Manager::restore`] brings it in line with the networks on record and the containers that live.
//!
//! A network: [`Manager::create`], [`Manager::remove`]. A container on it: [`Manager::allocate`] reserves its place,
//! [`Manager::attach`] makes the interface in its namespace, [`layout`] says how that is to be configured (by the
//! container's own process at a start, by [`Manager::configure`] later), [`Manager::detach`] and [`Manager::release`]
//! take it all back. Its ports belong to the container and lead to whichever endpoints are its gateways:
//! [`Manager::reserve_ports`], [`Manager::open_ports`], [`Manager::move_ports`], [`Manager::close_ports`].
//!
//! The calls block on the kernel for a millisecond or so; asynchronous callers use a blocking thread.

mod allocate;
mod attach;
mod books;
mod bridge;
mod config;
mod create;
mod default_bridge;
mod endpoint;
mod error;
mod firewall;
mod hairpin;
mod ipam;
mod links;
mod mac;
mod manager;
mod neighbours;
mod net;
mod options;
mod parent;
mod pools;
mod ports;
mod publish;
mod published;
mod release;
mod remove;
mod restore;
mod segment;
mod spec;
mod sweeper;
mod sysctl;
mod watch;

pub use config::{AddressPool, BridgeChoice, Config};
pub use endpoint::{Endpoint, EndpointRequest, Gateways, layout};
pub use error::{Error, Result};
pub use mac::MacAddr;
pub use manager::Manager;
pub use net::{Net, ParseNetError};
pub use published::{Forward, PortBinding, PortRequest, Proto, Publication, Published, Target};
pub use restore::Attachment;
pub use segment::Stack;
pub use spec::{
    BridgeOptions, Driver, GatewayMode, IpvlanOptions, MacvlanOptions, NetworkDraft, NetworkSpec, PoolRequest,
    SubnetSpec,
};
