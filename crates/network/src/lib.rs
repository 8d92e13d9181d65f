//! Container networks: addresses, links, published ports and the firewall that belongs to them.
//!
//! [`Manager`] owns everything Gantry has in the host's network namespace. It talks to the kernel by netlink
//! only and starts no process, neither to configure anything nor to forward a byte: published ports are
//! address translation by nftables. All of it survives the daemon; a new [`Manager`] adopts what it finds and
//! [`Manager::restore`] brings it in line with the containers that live.
//!
//! The calls block on the kernel for a millisecond or so; asynchronous callers use a blocking thread.

mod allocate;
mod attach;
mod bridge;
mod config;
mod endpoint;
mod error;
mod firewall;
mod ipam;
mod mac;
mod manager;
mod ports;
mod release;
mod restore;
mod subnet;
mod sweeper;
mod sysctl;

pub use config::{AddressPool, BridgeChoice, Config};
pub use endpoint::{Allocation, BridgeInfo, Endpoint, EndpointRequest, PortBinding, PortRequest, Proto};
pub use error::{Error, Result};
pub use mac::MacAddr;
pub use manager::Manager;
