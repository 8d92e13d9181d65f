//! The default network: the one that follows from the daemon's settings and not from a record.

use crate::books::{Made, Network};
use crate::bridge::{self, Host};
use crate::{BridgeChoice, BridgeOptions, Config, Driver, Error, Net, NetworkSpec, Result, SubnetSpec, create, pools};
use gantry_linux::netlink::{Socket, route};
use gantry_model::Id;
use std::net::{IpAddr, Ipv4Addr};

/// Makes or adopts the bridge of the default network; `None` if there shall be none.
pub(crate) fn open(socket: &mut Socket, config: &Config, id: Id, known: &[NetworkSpec]) -> Result<Option<Network>> {
    let (name, owned) = match &config.bridge {
        BridgeChoice::Own => (config.own_bridge_name(), true),
        BridgeChoice::Existing(name) => (name.clone(), false),
        BridgeChoice::Disabled => return Ok(None),
    };
    check(config)?;
    // Daemons that start at the same time must not choose the same subnet.
    let _lock = create::lock_namespace()?;
    let host = Host::look(socket)?;
    let link = host.link(&name).map(|l| l.index);
    if link.is_none() && !owned {
        return Err(Error::BridgeMissing(name));
    }
    let has = link.map(|index| host.addresses_of(index)).unwrap_or_default();
    let mut used = create::used_by_host(socket, &host)?;
    used.extend(known.iter().flat_map(|spec| spec.subnets.iter().map(|s| s.subnet)));
    let (address, subnet) = ipv4(config, &has, &used)?;
    let mut addresses = vec![(address.into(), subnet.subnet.prefix_len())];
    let mut subnets = vec![subnet];
    if config.ipv6 {
        let (address, subnet) = ipv6(config, &has, &used)?;
        addresses.push((address, subnet.subnet.prefix_len()));
        subnets.push(subnet);
    }
    let options = BridgeOptions {
        ifname: name.clone(),
        icc: config.icc,
        masquerade_v4: config.ip_masq,
        masquerade_v6: config.ip_masq,
        mtu: config.mtu,
        ..BridgeOptions::default()
    };
    let spec = NetworkSpec { id, name: "bridge".to_owned(), driver: Driver::Bridge(options), internal: false, subnets };
    let wanted = bridge::Wanted {
        name: &name,
        make: owned,
        alias: "",
        mtu: config.mtu,
        addresses,
        only: [owned && config.bip.is_some(), owned && config.bip6.is_some()],
        icc: config.icc,
        publishes: config.firewall,
        forward: config.ip_forward,
    };
    let made = bridge::ensure(socket, &wanted, &host)?;
    Ok(Some(Network::new(spec, Made::Bridge(made))))
}

/// Refuses settings that contradict each other.
fn check(config: &Config) -> Result<()> {
    let refuse = |text: String| Err(Error::Config(text));
    let wanted = [
        ("bip", config.bip.map(|(ip, len)| (IpAddr::V4(ip), len)), 30),
        ("bip6", config.bip6.map(|(ip, len)| (IpAddr::V6(ip), len)), 126),
    ];
    for (option, wanted, longest) in wanted {
        let Some((address, len)) = wanted else { continue };
        let link_local = matches!(address, IpAddr::V6(ip) if ip.is_unicast_link_local());
        if !(8..=longest).contains(&len) || !Net::of(address, len).is_host(address) || link_local {
            return refuse(format!("invalid {option} {address}/{len}: not the address of a host in a subnet"));
        }
        if config.bridge != BridgeChoice::Own {
            return refuse(format!("--{option} and --bridge exclude each other: the bridge has its address already"));
        }
    }
    Ok(())
}

/// The bridge's address and subnet: the configured one, the one that it has, or a free one.
fn ipv4(config: &Config, has: &[(IpAddr, u8)], used: &[Net]) -> Result<(Ipv4Addr, SubnetSpec)> {
    let first = has.iter().find_map(|(ip, len)| match ip {
        IpAddr::V4(ip) => Some((*ip, *len)),
        IpAddr::V6(_) => None,
    });
    let free = || {
        let subnet = pools::choose(&config.address_pools, true, b"", used)?;
        match create::first_address(subnet) {
            IpAddr::V4(ip) => Ok((ip, subnet.prefix_len())),
            IpAddr::V6(_) => Err(Error::PoolsExhausted { ipv4: true }),
        }
    };
    let (address, prefix_len) = config.bip.or(first).map_or_else(free, Ok)?;
    let subnet = Net::of(address, prefix_len);
    let range = config.fixed_cidr.map(|(ip, len)| Net::of(ip, len));
    let gateway = config.default_gateway.unwrap_or(address);
    let spec = spec(subnet, range, gateway.into(), address.into())?;
    Ok((address, spec))
}

fn ipv6(config: &Config, has: &[(IpAddr, u8)], used: &[Net]) -> Result<(IpAddr, SubnetSpec)> {
    let gateway_or = |address| config.default_gateway_v6.map_or(address, Into::into);
    if let Some((address, len)) = config.bip6 {
        let address = address.into();
        let spec = spec(Net::of(address, len), config.fixed_cidr_v6, gateway_or(address), address)?;
        return Ok((address, spec));
    }
    let is_global = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if !ip.is_unicast_link_local());
    let first = has
        .iter()
        .find(|(ip, len)| is_global(ip) && config.fixed_cidr_v6.is_none_or(|wanted| wanted == Net::of(*ip, *len)));
    let (address, subnet) = match (first, config.fixed_cidr_v6) {
        (Some((ip, len)), _) => (*ip, Net::of(*ip, *len)),
        (None, Some(subnet)) => (create::first_address(subnet), subnet),
        (None, None) => {
            let subnet = pools::choose(&config.address_pools, false, &create::host_seed(config), used)?;
            (create::first_address(subnet), subnet)
        }
    };
    let spec = spec(subnet, None, gateway_or(address), address)?;
    Ok((address, spec))
}

fn spec(subnet: Net, range: Option<Net>, gateway: IpAddr, bridge: IpAddr) -> Result<SubnetSpec> {
    if let Some(range) = range.filter(|range| !subnet.contains_net(*range)) {
        return Err(Error::Config(format!("fixed-cidr {range} is not in the bridge's subnet {subnet}")));
    }
    if !subnet.is_host(gateway) {
        return Err(Error::Config(format!("default gateway {gateway} is not in {subnet}")));
    }
    let mut spec = SubnetSpec { range, gateway: Some(gateway), ..SubnetSpec::of(subnet) };
    if bridge != gateway {
        spec.aux.insert("DefaultGatewayIPv4".to_owned(), bridge);
    }
    Ok(spec)
}

/// The link of that name, if there is one.
pub(crate) fn link(socket: &mut Socket, name: &str) -> Result<Option<route::Link>> {
    route::link_by_name(socket, name).map_err(|e| Error::kernel(format!("look for {name}"))(e.into()))
}
