//! Plugging a container in and out.

use crate::books::Made;
use crate::bridge::Bridge;
use crate::manager::lock;
use crate::{Driver, Endpoint, Error, MacAddr, Manager, Result, Stack, default_bridge, parent, segment};
use gantry_linux::netlink::container::{self, Layout};
use gantry_linux::netlink::route::{self, Ipvlan, Macvlan, VethPair};
use gantry_linux::netlink::{Batch, Protocol, Socket, namespace};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

impl Manager {
    /// Takes an interface that somebody else has made, `source`, into a network namespace under another name.
    pub fn take_in(&self, source: &str, netns: BorrowedFd<'_>, ifname: &str) -> Result<()> {
        let mut socket = lock(&self.shared.links);
        let Some(link) = default_bridge::link(&mut socket, source)? else {
            return Err(Error::Config(format!("there is no interface {source}")));
        };
        let mut batch = Batch::new();
        route::move_link(&mut batch, link.index, netns, ifname);
        socket.transact(&mut batch).map_err(|e| Error::kernel(format!("move interface {source}"))(e.into()))
    }

    /// Makes the interface in the container's network namespace, under the name `ifname`. The container's own
    /// process then configures it as [`layout`](crate::layout) says, or [`configure`](Self::configure) does.
    ///
    /// After an error nothing of it is left but the reservation.
    pub fn attach(&self, endpoint: &Endpoint, netns: BorrowedFd<'_>, ifname: &str, stack: Stack) -> Result<()> {
        self.shared.follow_bridge_netfilter();
        let (made, driver, internal) = {
            let books = lock(&self.shared.books);
            let network = books.networks.get(&endpoint.network).ok_or(Error::UnknownNetwork(endpoint.network))?;
            (network.made.clone(), network.spec.driver.clone(), network.spec.internal)
        };
        let mut batch = Batch::new();
        match (&made, &driver) {
            (Made::Bridge(bridge), _) => {
                plug(&mut batch, endpoint, bridge, segment::of_pair(stack, internal), netns, ifname);
            }
            (Made::Stacked { parent }, Driver::Ipvlan(options)) => {
                let (mode, flag) = (options.mode, options.flag);
                Ipvlan { name: ifname, parent: *parent, mode, flag, mtu: endpoint.mtu, netns }.add(&mut batch);
            }
            (Made::Stacked { parent }, Driver::Macvlan(options)) => {
                let mac = endpoint.mac.map(MacAddr::octets);
                let mode = options.mode;
                Macvlan { name: ifname, parent: *parent, mode, mac, mtu: endpoint.mtu, netns }.add(&mut batch);
            }
            (Made::Stacked { .. } | Made::Elsewhere, _) => return Err(Error::UnknownNetwork(endpoint.network)),
        }
        let mut links = lock(&self.shared.links);
        let outcome = links.transact(&mut batch);
        if let (Ok(()), Made::Bridge(bridge)) = (&outcome, &made) {
            segment::enlarge_bridge(&mut links, bridge);
        }
        drop(links);
        outcome.map_err(|e| match (&driver, e.errno()) {
            (Driver::Ipvlan(_), Some(Errno::OPNOTSUPP)) => parent::lacks_ipvlan(),
            (Driver::Macvlan(_), Some(Errno::OPNOTSUPP)) => {
                Error::KernelLacks { what: "a macvlan network", kind: "macvlan", hint: "" }
            }
            _ => {
                self.cut_off(endpoint);
                Error::kernel(format!("create interface {ifname}"))(e.into())
            }
        })
    }

    /// Removes the interface from a namespace that goes on living.
    pub fn detach(&self, endpoint: &Endpoint, netns: BorrowedFd<'_>, ifname: &str) -> Result<()> {
        let inside = namespace::within(netns, || {
            let mut socket = Socket::open(Protocol::Route)?;
            let mut batch = Batch::new();
            route::delete_link(&mut batch, ifname);
            Ok::<_, std::io::Error>(socket.transact(&mut batch)?)
        });
        match inside.and_then(|outcome| outcome) {
            Err(e) if Errno::from_io_error(&e) != Some(Errno::NODEV) => {
                self.cut_off(endpoint);
                Err(Error::kernel(format!("remove interface {ifname}"))(e))
            }
            _ => Ok(()),
        }
    }

    /// Configures the interfaces and routes of a namespace that is in use: those of `layout` are brought up, and the
    /// default routes are its and no others.
    pub fn configure(&self, netns: BorrowedFd<'_>, layout: &Layout) -> Result<()> {
        let set = |key: &str, value: &str| std::fs::write(format!("/proc/sys/net/{key}"), value);
        let outcome = namespace::within(netns, || container::change(layout, set));
        outcome.and_then(|outcome| outcome).map_err(Error::kernel("configure the container's interfaces"))
    }

    /// Tries to take a half-made link away; the failure that led here is the one to report.
    fn cut_off(&self, endpoint: &Endpoint) {
        if let Err(e) = self.unplug(endpoint) {
            tracing::warn!(link = endpoint.host_ifname, "left behind after a failure: {e}");
        }
    }
}

fn plug(
    batch: &mut Batch,
    endpoint: &Endpoint,
    bridge: &Bridge,
    [segment, peer_segment]: [u32; 2],
    netns: BorrowedFd<'_>,
    ifname: &str,
) {
    let pair = VethPair {
        name: &endpoint.host_ifname,
        bridge: bridge.index,
        peer_name: ifname,
        peer_mac: endpoint.mac.map(MacAddr::octets),
        peer_netns: netns,
        mtu: endpoint.mtu,
        segment,
        peer_segment,
    };
    pair.add(batch);
    route::set_port(batch, &endpoint.host_ifname, bridge.port, endpoint.mtu);
}
