//! Bridges that turn packets round.
//!
//! Where br_netfilter is on, a packet that is translated back to its own sender is turned round inside the bridge and not
//! by routing, which the bridge allows on hairpin ports only. Elsewhere hairpin ports are a nuisance: containers would
//! hear their own broadcasts. Somebody may switch it on or off at any time (another engine that starts loads the module),
//! and the kernel tells nobody. So it is looked at whenever a container is plugged in, and whenever somebody changes the
//! firewall, which is what it is switched on for.

use crate::books::Made;
use crate::bridge::Bridge;
use crate::manager::{Shared, lock};
use crate::{Error, Result, sysctl};
use gantry_linux::netlink::{Batch, route};
use rustix::io::Errno;

/// Whether bridges are to turn packets round.
pub(crate) fn is_needed() -> bool {
    ["iptables", "ip6tables"].iter().any(|family| sysctl::is_on(&format!("bridge/bridge-nf-call-{family}")))
}

impl Shared {
    /// Changes the ports of all bridges if need be.
    pub(crate) fn follow_bridge_netfilter(&self) {
        if let Err(e) = self.set_hairpins() {
            tracing::warn!("containers may not reach themselves by their published ports: {e}");
        }
    }

    fn set_hairpins(&self) -> Result<()> {
        let needed = is_needed();
        let mut batch = Batch::new();
        let mut any = false;
        {
            let mut books = lock(&self.books);
            let books = &mut *books;
            for endpoint in books.endpoints.values().filter(|endpoint| !endpoint.host_ifname.is_empty()) {
                let bridge = books.networks.get(&endpoint.network).and_then(|network| network.bridge());
                if bridge.is_some_and(|bridge| bridge.port.hairpin != needed) {
                    route::set_hairpin(&mut batch, &endpoint.host_ifname, needed);
                    any = true;
                }
            }
            for network in books.networks.values_mut() {
                if let Made::Bridge(Bridge { port, .. }) = &mut network.made {
                    port.hairpin = needed;
                }
            }
        }
        if !any {
            return Ok(());
        }
        match lock(&self.links).transact(&mut batch) {
            // Of a container that has just ended, or is about to be plugged in.
            Err(e) if e.errno() != Some(Errno::NODEV) => Err(Error::kernel("change bridge ports")(e.into())),
            _ => Ok(()),
        }
    }
}
