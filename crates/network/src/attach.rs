//! Plugging a container in.

use crate::firewall::is_missing;
use crate::manager::{Books, Entry, lock};
use crate::{Endpoint, Error, Manager, Proto, Result};
use gantry_linux::netlink::route::{self, VethPair};
use gantry_linux::netlink::{Batch, Socket, conntrack};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

/// The interface's name in the container.
const CONTAINER_IFNAME: &str = "eth0";

impl Manager {
    /// Makes the link into the container's network namespace and opens its ports. The container's own process
    /// then configures its end, `eth0`, with `gantry_linux::netlink::container::configure`.
    ///
    /// After an error nothing of it is left but the reservation.
    pub fn attach(&self, endpoint: &Endpoint, netns: BorrowedFd<'_>) -> Result<()> {
        let network = self.network()?;
        let pair = VethPair {
            name: &endpoint.host_ifname,
            bridge: network.bridge.index,
            peer_name: CONTAINER_IFNAME,
            peer_mac: endpoint.mac.octets(),
            peer_netns: netns,
            mtu: endpoint.mtu,
        };
        let mut batch = Batch::new();
        pair.add(&mut batch);
        route::set_port(&mut batch, &endpoint.host_ifname, network.bridge.port);
        let linked = lock(&self.links).transact(&mut batch);
        linked
            .map_err(|e| Error::kernel(format!("create link {}", endpoint.host_ifname))(e.into()))
            .and_then(|()| self.publish(endpoint))
            .inspect_err(|_| self.undo(endpoint))
    }

    /// Opens the ports of an endpoint whose link is there.
    fn publish(&self, endpoint: &Endpoint) -> Result<()> {
        let Some(firewall) = &self.firewall else { return Ok(()) };
        if endpoint.ports.is_empty() {
            lock(&self.books).attached(endpoint);
            return Ok(());
        }
        let mut socket = lock(&self.netfilter);
        match firewall.publish(&mut socket, endpoint) {
            Ok(()) => lock(&self.books).attached(endpoint),
            // Somebody flushed the host's whole rule set: everything has to be put back.
            Err(e) if is_missing(&e) => {
                let mut books = lock(&self.books);
                books.attached(endpoint);
                let attached = books.endpoints.values().filter(|e| e.attached).map(|e| &e.endpoint);
                firewall.rebuild(&mut socket, attached)?;
            }
            Err(e) => return Err(firewall.error("publish ports in", e)),
        }
        forget_earlier_flows(&mut socket, endpoint)
    }

    /// Takes everything away again when a part failed; that failure is the one to report.
    fn undo(&self, endpoint: &Endpoint) {
        if let Some(entry) = lock(&self.books).endpoints.get_mut(&endpoint.id) {
            entry.attached = false;
        }
        if let Err(e) = self.unplug(endpoint) {
            tracing::warn!(link = endpoint.host_ifname, "left behind after a failed start: {e}");
        }
    }
}

impl Books {
    fn attached(&mut self, endpoint: &Endpoint) {
        self.endpoints.insert(endpoint.id, Entry { endpoint: endpoint.clone(), attached: true });
    }
}

/// Somebody who has sent datagrams to the port all along is known to connection tracking as a flow without
/// translation, and would stay so for as long as the sending goes on.
fn forget_earlier_flows(socket: &mut Socket, endpoint: &Endpoint) -> Result<()> {
    let ports: Vec<_> = endpoint.ports.iter().filter(|p| p.proto == Proto::Udp).collect();
    if ports.is_empty() {
        return Ok(());
    }
    conntrack::forget(socket, |flow| {
        flow.proto == Proto::Udp.number()
            && flow.reply.source != endpoint.ip
            && ports.iter().any(|p| {
                p.host_port == flow.original.destination_port
                    && (p.host_ip.is_unspecified() || p.host_ip == IpAddr::V4(flow.original.destination))
                    // Not the host's own conversations with somebody else's port of the same number.
                    && flow.reply.source == flow.original.destination
            })
    })
    .map(|_| ())
    .map_err(|e| Error::kernel("forget flows to the published ports")(e.into()))
}
