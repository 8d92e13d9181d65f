//! The bridge of a network: made when missing, adopted when there.

use crate::subnet::{self, Subnet};
use crate::{BridgeChoice, Config, Error, MacAddr, Result, sysctl};
use gantry_linux::netlink::route::{self, BridgePort};
use gantry_linux::netlink::{Batch, Socket, namespace};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::net::Ipv4Addr;

/// A bridge with its address.
#[derive(Debug, Clone)]
pub(crate) struct Bridge {
    pub(crate) name: String,
    pub(crate) index: u32,
    /// Its own address, the containers' way to the host.
    pub(crate) address: Ipv4Addr,
    pub(crate) subnet: Subnet,
    /// How containers' links are plugged in.
    pub(crate) port: BridgePort,
    /// Whether Gantry made it and may remove it.
    pub(crate) owned: bool,
}

/// Makes or adopts the bridge of the default network; `None` if there shall be none.
pub(crate) fn open(socket: &mut Socket, config: &Config) -> Result<Option<Bridge>> {
    let (name, owned) = match &config.bridge {
        BridgeChoice::Own => (config.own_bridge_name(), true),
        BridgeChoice::Existing(name) => (name.clone(), false),
        BridgeChoice::Disabled => return Ok(None),
    };
    check(config)?;
    // Daemons that start at the same time must not choose the same subnet. The lock is the network namespace
    // itself, which is exactly what they share, and it ends with the descriptor.
    let namespace = namespace::current().map_err(Error::kernel("open the network namespace"))?;
    flock(&namespace, FlockOperation::LockExclusive)
        .map_err(|e| Error::kernel("lock the network namespace")(e.into()))?;

    let index = link(socket, &name, owned, config)?;
    let (address, subnet) = address(socket, &name, index, owned, config)?;
    let mut batch = Batch::new();
    route::set_link_up(&mut batch, index);
    socket.transact(&mut batch).map_err(|e| Error::kernel(format!("bring bridge {name} up"))(e.into()))?;
    settings(&name, owned, config)?;
    // Where br_netfilter is on, a packet that is translated back to its own sender is turned round inside the
    // bridge and not by routing, which the bridge allows on hairpin ports only. Elsewhere hairpin ports are
    // a nuisance: containers would hear their own broadcasts.
    let port = BridgePort { isolated: !config.icc, hairpin: sysctl::is_on("bridge/bridge-nf-call-iptables") };
    Ok(Some(Bridge { name, index, address, subnet, port, owned }))
}

/// Refuses settings that contradict each other.
fn check(config: &Config) -> Result<()> {
    subnet::check_pools(&config.address_pools)?;
    let refuse = |text: String| Err(Error::Config(text));
    if let Some((address, len)) = config.bip {
        if !(8..=30).contains(&len) || !Subnet::of(address, len).is_host(address) {
            return refuse(format!("invalid bip {address}/{len}: not the address of a host in a subnet"));
        }
        if config.bridge != BridgeChoice::Own {
            return refuse("--bip and --bridge exclude each other: the bridge has its address already".to_owned());
        }
    }
    Ok(())
}

/// The bridge's index; an own one is made when missing.
fn link(socket: &mut Socket, name: &str, owned: bool, config: &Config) -> Result<u32> {
    let look = |socket: &mut Socket| {
        let found = route::link_by_name(socket, name);
        found.map_err(|e| Error::kernel(format!("look for bridge {name}"))(e.into()))
    };
    match look(socket)? {
        Some(link) if link.kind.as_deref() == Some("bridge") => return Ok(link.index),
        None if owned => {}
        _ => return Err(Error::BridgeMissing(name.to_owned())),
    }
    // Any fixed address will do; this one is the name's, so that it is the same after each restart of the host.
    let mut batch = Batch::new();
    route::add_bridge(&mut batch, name, bridge_mac(name).octets(), config.mtu);
    match socket.transact(&mut batch) {
        Err(e) if e.errno() != Some(Errno::EXIST) => {
            return Err(Error::kernel(format!("create bridge {name}"))(e.into()));
        }
        _ => {}
    }
    look(socket)?.map(|link| link.index).ok_or_else(|| Error::BridgeMissing(name.to_owned()))
}

/// A locally administered address out of the name's FNV-1a hash.
fn bridge_mac(name: &str) -> MacAddr {
    let hash = name.bytes().fold(0x811c_9dc5u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    let [a, b, c, d] = hash.to_be_bytes();
    MacAddr::new([0x02, 0x67, a, b, c, d])
}

/// The bridge's address and subnet: the configured one, the one that it has, or a free one.
fn address(socket: &mut Socket, name: &str, index: u32, owned: bool, config: &Config) -> Result<(Ipv4Addr, Subnet)> {
    let kernel = |what: &str| Error::kernel(format!("{what} bridge {name}"));
    let all = route::addresses(socket).map_err(|e| kernel("list the addresses of")(e.into()))?;
    let has: Vec<_> = all.iter().filter(|a| a.index == index).map(|a| (a.address, a.prefix_len)).collect();
    let wanted = match (config.bip, has.first()) {
        (Some(bip), _) => bip,
        (None, Some(first)) => *first,
        (None, None) => free_address(socket, config)?,
    };
    let mut batch = Batch::new();
    if owned && config.bip.is_some() {
        for (address, len) in has.iter().filter(|a| **a != wanted) {
            route::delete_address(&mut batch, index, *address, *len);
        }
    }
    if !has.contains(&wanted) {
        route::add_address(&mut batch, index, wanted.0, wanted.1);
    }
    socket.transact(&mut batch).map_err(|e| kernel("set the address of")(e.into()))?;
    Ok((wanted.0, Subnet::of(wanted.0, wanted.1)))
}

/// The first address of a subnet that the host neither has nor routes.
fn free_address(socket: &mut Socket, config: &Config) -> Result<(Ipv4Addr, u8)> {
    let addresses = route::addresses(socket).map_err(|e| Error::kernel("list addresses")(e.into()))?;
    let routes = route::routes(socket).map_err(|e| Error::kernel("list routes")(e.into()))?;
    let used: Vec<_> = addresses
        .iter()
        .map(|a| Subnet::of(a.address, a.prefix_len))
        // A default route covers everything and says nothing.
        .chain(routes.iter().filter(|r| r.prefix_len > 0).map(|r| Subnet::of(r.destination, r.prefix_len)))
        .collect();
    let subnet = subnet::choose(&config.address_pools, &used)?;
    Ok((Ipv4Addr::from(u32::from(subnet.network()) + 1), subnet.prefix_len()))
}

/// Kernel settings that the network needs.
fn settings(name: &str, owned: bool, config: &Config) -> Result<()> {
    if config.ip_forward {
        sysctl::set("ipv4/ip_forward", "1")?;
    }
    let wish = |key: String, without: &str| {
        if let Err(e) = sysctl::set(&key, "1") {
            tracing::warn!("{without}: {e}");
        }
    };
    if config.firewall {
        // What that opens, the firewall's guard chain closes.
        wish(format!("ipv4/conf/{name}/route_localnet"), "published ports do not answer on 127.0.0.1");
    }
    // The network has no IPv6, and a container must not give the host any by router advertisements
    // (CVE-2020-13401). A kernel without IPv6 has no such setting.
    if owned && std::path::Path::new("/proc/sys/net/ipv6").exists() {
        wish(format!("ipv6/conf/{name}/disable_ipv6"), "containers can send router advertisements to the host");
    }
    Ok(())
}
