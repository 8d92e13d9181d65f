//! The door of the crate.

use crate::{Allocation, BridgeInfo, Config, Endpoint, EndpointRequest, Result};
use std::os::fd::BorrowedFd;

/// Everything Gantry has in the host's network namespace. Calls may come from any thread.
#[derive(Debug)]
pub struct Manager {
    config: Config,
}

impl Manager {
    /// Makes what is missing of the bridge and the firewall table, and adopts what is there.
    pub fn open(config: Config) -> Result<Self> {
        Ok(Self { config })
    }

    /// The default network; `None` when it is disabled.
    pub fn default_bridge(&self) -> Option<BridgeInfo> {
        let _ = &self.config;
        todo!()
    }

    /// Reserves an address and host ports. Nothing changes in the kernel but the bound sockets.
    pub fn allocate(&self, _request: &EndpointRequest) -> Result<Allocation> {
        todo!()
    }

    /// Makes the link into the container's network namespace and opens its ports. The container's own process
    /// then configures its end, `eth0`, with `gantry_linux::netlink::container::configure`.
    pub fn attach(&self, _endpoint: &Endpoint, _netns: BorrowedFd<'_>) -> Result<()> {
        todo!()
    }

    /// Undoes [`allocate`](Self::allocate) and [`attach`](Self::attach); whatever is gone already is no error.
    pub fn release(&self, _endpoint: &Endpoint) -> Result<()> {
        todo!()
    }

    /// To be called once when the daemon starts, with the endpoints of all living containers: reserves what is
    /// theirs, puts back what is missing and removes every link and rule of this instance that is nobody's.
    pub fn restore(&self, _live: &[Endpoint]) -> Result<()> {
        todo!()
    }
}
