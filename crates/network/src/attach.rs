//! Plugging a container in.

use crate::firewall::is_missing;
use crate::manager::{Books, Entry, lock};
use crate::{Endpoint, Error, Manager, PortBinding, Proto, Result};
use gantry_linux::netlink::conntrack::{self, Tuple};
use gantry_linux::netlink::route::{self, VethPair};
use gantry_linux::netlink::{Batch, Socket};
use std::net::{IpAddr, Ipv4Addr};
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
        let datagrams: Vec<_> = endpoint.ports.iter().filter(|p| p.proto == Proto::Udp).collect();
        let local = if datagrams.is_empty() { Vec::new() } else { self.local_addresses()? };
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
        if datagrams.is_empty() { Ok(()) } else { forget_earlier_flows(&mut socket, &datagrams, &local) }
    }

    fn local_addresses(&self) -> Result<Vec<Ipv4Addr>> {
        let all = route::addresses(&mut lock(&self.links)).map_err(|e| Error::kernel("list addresses")(e.into()))?;
        Ok(all.into_iter().map(|a| a.address).collect())
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
/// translation, and would stay so for as long as the sending goes on. What the host itself or a container sends to
/// the same port elsewhere is left alone, hence `local`, the host's own addresses.
fn forget_earlier_flows(socket: &mut Socket, ports: &[&PortBinding], local: &[Ipv4Addr]) -> Result<()> {
    let is_local = |ip: Ipv4Addr| ip.is_loopback() || local.contains(&ip);
    conntrack::forget(socket, Proto::Udp.number(), |flow| {
        let Tuple { destination, destination_port, .. } = flow.original;
        let is_for = |p: &&PortBinding| {
            p.host_port == destination_port && (p.host_ip.is_unspecified() || p.host_ip == IpAddr::V4(destination))
        };
        flow.reply.source == destination && is_local(destination) && ports.iter().any(is_for)
    })
    .map(|_| ())
    .map_err(|e| Error::kernel("forget flows to the published ports")(e.into()))
}
