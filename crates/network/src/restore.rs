//! Bringing the host in line with the containers that live, when the daemon starts.

use crate::manager::{Books, Entry, Network, lock};
use crate::sweeper::delete_links;
use crate::{Endpoint, Error, Manager, Result};
use gantry_linux::netlink::route::{self, Link};
use gantry_linux::netlink::{Batch, Socket};
use std::collections::{HashMap, HashSet};

impl Manager {
    /// To be called once when the daemon starts, with the endpoints of all living containers: reserves what is
    /// theirs, puts back what is missing and removes every link and rule of this instance that is nobody's.
    /// Goes on after failures and reports them all.
    pub fn restore(&self, live: &[Endpoint]) -> Result<()> {
        let mut errors = Vec::new();
        {
            let mut links = lock(&self.links);
            errors.extend(self.restore_links(&mut links, live).err());
        }
        let mut netfilter = lock(&self.netfilter);
        *lock(&self.books) = Books::of(self.network.as_ref(), self, live)?;
        if let Some(firewall) = self.firewall.as_ref().filter(|_| self.network.is_some()) {
            errors.extend(firewall.rebuild(&mut netfilter, live.iter()).err());
        }
        Error::gather(errors)
    }

    /// Removes links without an endpoint and plugs those of living ones in again.
    fn restore_links(&self, socket: &mut Socket, live: &[Endpoint]) -> Result<()> {
        let prefix = self.config.link_prefix();
        let found = route::links(socket).map_err(|e| Error::kernel("list links")(e.into()))?;
        let ours: HashMap<&str, &Link> = found
            .iter()
            .filter(|l| l.kind.as_deref() == Some("veth") && l.name.starts_with(&prefix))
            .map(|l| (l.name.as_str(), l))
            .collect();
        let wanted: HashSet<&str> = live.iter().map(|e| e.host_ifname.as_str()).collect();
        let strays: Vec<_> = ours.keys().copied().filter(|name| !wanted.contains(name)).collect();
        let mut errors: Vec<_> = delete_links(socket, &strays).err().into_iter().collect();
        let Some(network) = &self.network else { return Error::gather(errors) };
        for endpoint in live {
            if let Some(link) = ours.get(endpoint.host_ifname.as_str()) {
                errors.extend(plug_in(socket, network, link).err());
            } else {
                // Made inside a namespace that only its container can name now: a restart of it is the cure.
                tracing::warn!(container = %endpoint.container, "the container has lost its network link");
            }
        }
        Error::gather(errors)
    }
}

/// Connects a link to the bridge, if it is not (the bridge was made anew).
fn plug_in(socket: &mut Socket, network: &Network, link: &Link) -> Result<()> {
    if link.master == Some(network.bridge.index) && link.up {
        return Ok(());
    }
    let mut batch = Batch::new();
    route::set_master(&mut batch, &link.name, network.bridge.index);
    route::set_port(&mut batch, &link.name, network.bridge.port);
    socket.transact(&mut batch).map_err(|e| Error::kernel(format!("connect link {}", link.name))(e.into()))
}

impl Books {
    /// The books as the living endpoints say. Two that claim the same cannot both be right, but both live:
    /// the claim is kept once, and neither is refused.
    fn of(network: Option<&Network>, manager: &Manager, live: &[Endpoint]) -> Result<Self> {
        let mut books = Self::new(network, &manager.config)?;
        for endpoint in live {
            let mut claims = Vec::new();
            if let Some(addresses) = &mut books.addresses {
                claims.push(addresses.take(endpoint.ip));
            }
            claims.extend(endpoint.ports.iter().map(|port| books.ports.adopt(port)));
            for error in claims.into_iter().filter_map(Result::err) {
                tracing::warn!(container = %endpoint.container, ip = %endpoint.ip, "claim of a living container: {error}");
            }
            books.endpoints.insert(endpoint.id, Entry { endpoint: endpoint.clone(), attached: true });
        }
        Ok(books)
    }
}
