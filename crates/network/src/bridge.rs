//! Bridges: made when missing, adopted when there, with what the kernel needs to be told.

use crate::{Error, MacAddr, Result, default_bridge, hairpin, segment, sysctl};
use gantry_linux::netlink::route::{self, BridgePort, Link};
use gantry_linux::netlink::{Batch, Socket};
use rustix::io::Errno;
use std::net::IpAddr;

/// A bridge that is there.
#[derive(Debug, Clone)]
pub(crate) struct Bridge {
    pub(crate) name: String,
    pub(crate) index: u32,
    /// How containers' links are plugged in.
    pub(crate) port: BridgePort,
    /// Whether Gantry made it and may remove it.
    pub(crate) owned: bool,
}

/// What a bridge is to be like.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    /// Whether it may be made.
    pub(crate) make: bool,
    /// What is written about one that is made here, by which it is known again; nothing about one that is known by its
    /// name.
    pub(crate) alias: &'a str,
    pub(crate) mtu: u32,
    /// Its own addresses, with the prefix lengths of their subnets.
    pub(crate) addresses: Vec<(IpAddr, u8)>,
    /// By family, whether other addresses that it has are to go.
    pub(crate) only: [bool; 2],
    /// Whether its members reach each other.
    pub(crate) icc: bool,
    /// Whether ports of its members are published.
    pub(crate) publishes: bool,
    /// Whether the kernel is to forward.
    pub(crate) forward: bool,
}

impl Wanted<'_> {
    fn has_ipv6(&self) -> bool {
        self.addresses.iter().any(|(ip, _)| ip.is_ipv6())
    }
}

/// What is there already: links and addresses of the host.
#[derive(Debug, Default)]
pub(crate) struct Host {
    pub(crate) links: Vec<Link>,
    pub(crate) addresses: Vec<route::Address>,
}

impl Host {
    /// Looks.
    pub(crate) fn look(socket: &mut Socket) -> Result<Self> {
        Ok(Self {
            links: route::links(socket).map_err(|e| Error::kernel("list links")(e.into()))?,
            addresses: route::addresses(socket).map_err(|e| Error::kernel("list addresses")(e.into()))?,
        })
    }

    /// Looks for certain links only, which spares a host with hundreds of them the listing.
    pub(crate) fn look_for(socket: &mut Socket, names: &[&str]) -> Result<Self> {
        let mut links = Vec::with_capacity(names.len());
        for name in names {
            links.extend(default_bridge::link(socket, name)?);
        }
        let addresses = route::addresses(socket).map_err(|e| Error::kernel("list addresses")(e.into()))?;
        Ok(Self { links, addresses })
    }

    pub(crate) fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|l| l.name == name)
    }

    /// The addresses of a link.
    pub(crate) fn addresses_of(&self, index: u32) -> Vec<(IpAddr, u8)> {
        self.addresses.iter().filter(|a| a.index == index).map(|a| (a.address, a.prefix_len)).collect()
    }
}

/// Makes or adopts a bridge and brings it up.
pub(crate) fn ensure(socket: &mut Socket, wanted: &Wanted<'_>, host: &Host) -> Result<Bridge> {
    let (index, alias) = match host.link(wanted.name) {
        Some(link) if link.kind.as_deref() == Some("bridge") => (link.index, link.alias.clone()),
        None if wanted.make => make(socket, wanted)?,
        _ => return Err(Error::BridgeMissing(wanted.name.to_owned())),
    };
    // What it has by itself, its link-local address, is not ours to judge.
    let is_ours = |ip: &IpAddr| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let has: Vec<_> = host.addresses_of(index).into_iter().filter(|(ip, _)| is_ours(ip)).collect();
    let ours = if wanted.alias.is_empty() { wanted.make } else { alias.as_deref() == Some(wanted.alias) };
    settings(wanted, ours)?;
    if wanted.publishes {
        segment::enlarge_loopback(socket);
    }
    let mut batch = Batch::new();
    let goes = |a: &&(IpAddr, u8)| wanted.only[usize::from(a.0.is_ipv6())] && !wanted.addresses.contains(a);
    for (address, len) in has.iter().filter(goes) {
        route::delete_address(&mut batch, index, *address, *len);
    }
    for (address, len) in wanted.addresses.iter().filter(|a| !has.contains(a)) {
        route::ensure_address(&mut batch, index, *address, *len);
    }
    route::set_link_up(&mut batch, index);
    socket.transact(&mut batch).map_err(|e| Error::kernel(format!("set up bridge {}", wanted.name))(e.into()))?;
    let port = BridgePort { isolated: !wanted.icc, hairpin: hairpin::is_needed() };
    Ok(Bridge { name: wanted.name.to_owned(), index, port, owned: ours })
}

/// Makes a bridge; gives its index and its alias.
fn make(socket: &mut Socket, wanted: &Wanted<'_>) -> Result<(u32, Option<String>)> {
    let name = wanted.name;
    // Any fixed address will do; this one is the name's, so that it is the same after each restart of the host. The
    // alias goes in the same message batch, between whose requests nobody can be killed.
    let mut batch = Batch::new();
    route::add_bridge(&mut batch, name, bridge_mac(name).octets(), wanted.mtu);
    route::set_alias(&mut batch, name, wanted.alias);
    match socket.transact(&mut batch) {
        Err(e) if e.errno() != Some(Errno::EXIST) => {
            return Err(Error::kernel(format!("create bridge {name}"))(e.into()));
        }
        _ => {}
    }
    let found = route::link_by_name(socket, name);
    let found = found.map_err(|e| Error::kernel(format!("look for bridge {name}"))(e.into()))?;
    found.map(|link| (link.index, link.alias)).ok_or_else(|| Error::BridgeMissing(name.to_owned()))
}

/// A locally administered address out of the name's FNV-1a hash.
fn bridge_mac(name: &str) -> MacAddr {
    let hash = name.bytes().fold(0x811c_9dc5u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    let [a, b, c, d] = hash.to_be_bytes();
    MacAddr::new([0x02, 0x67, a, b, c, d])
}

/// Kernel settings that the network needs.
fn settings(wanted: &Wanted<'_>, ours: bool) -> Result<()> {
    let name = wanted.name;
    if wanted.forward {
        sysctl::set("ipv4/ip_forward", "1")?;
    }
    let wish = |key: &str, value: &str, without: &str| {
        if let Err(e) = sysctl::set(&key.replace("{}", name), value) {
            tracing::warn!("{without}: {e}");
        }
    };
    if wanted.publishes {
        // What that opens, the firewall's guard chain closes.
        wish("ipv4/conf/{}/route_localnet", "1", "published ports do not answer on 127.0.0.1");
    }
    if ours || !wanted.icc {
        // Members that do not reach each other get the host's hardware address for that of any other, so that the
        // firewall sees what they send and lets through what links allow.
        wish("ipv4/conf/{}/proxy_arp_pvlan", if wanted.icc { "0" } else { "1" }, "links have no effect");
    }
    if !wanted.icc {
        // Answers for others are held back for most of a second by default, in favour of the others' own.
        wish("ipv4/neigh/{}/proxy_delay", "0", "first packets by links take a second");
    }
    // A kernel without IPv6 has no such settings.
    if !sysctl::has_ipv6() || (1..route::IPV6_MIN_MTU).contains(&wanted.mtu) {
        return Ok(());
    }
    if wanted.has_ipv6() {
        if wanted.forward {
            forward_ipv6()?;
        }
        sysctl::set(&format!("ipv6/conf/{name}/disable_ipv6"), "0")?;
        wish("ipv6/conf/{}/accept_ra", "0", "containers can send router advertisements to the host");
        wish("ipv6/conf/{}/accept_dad", "0", "the bridge's own address takes a second");
    } else if ours {
        // A container must not give the host any by router advertisements (CVE-2020-13401).
        wish("ipv6/conf/{}/disable_ipv6", "1", "containers can send router advertisements to the host");
    }
    Ok(())
}

/// Switches forwarding on. A host that forwards takes itself for a router and no longer hears other routers, so that
/// one which has its own addresses and default route from them would lose both: its interfaces are told to go on.
fn forward_ipv6() -> Result<()> {
    if sysctl::is_on("ipv6/conf/all/forwarding") {
        return Ok(());
    }
    for name in sysctl::list("ipv6/conf").iter().filter(|name| !["all", "default", "lo"].contains(&name.as_str())) {
        let key = format!("ipv6/conf/{name}/accept_ra");
        if sysctl::get(&key).is_some_and(|value| value == "1")
            && let Err(e) = sysctl::set(&key, "2")
        {
            tracing::warn!("{name} will not hear routers any more: {e}");
        }
    }
    sysctl::set("ipv6/conf/default/forwarding", "1")?;
    sysctl::set("ipv6/conf/all/forwarding", "1")
}
