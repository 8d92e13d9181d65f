//! Docker's driver options (`docker network create -o`).

use crate::spec::modes;
use crate::{BridgeOptions, Driver, Error, GatewayMode, IpvlanOptions, MacvlanOptions, Result};
use gantry_linux::netlink::route::{IpvlanFlag, IpvlanMode, MacvlanMode};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const BRIDGE: &str = "com.docker.network.bridge.";
const MTU: &str = "com.docker.network.driver.mtu";

impl Driver {
    /// A driver by name and options; `None` for a driver that is none of this crate's. Options that nobody knows mean
    /// nothing, as in Docker.
    pub fn from_options(name: &str, options: &BTreeMap<String, String>) -> Result<Option<Self>> {
        match name {
            "bridge" => bridge(options).map(Self::Bridge).map(Some),
            "macvlan" => macvlan(options).map(Self::Macvlan).map(Some),
            "ipvlan" => ipvlan(options).map(Self::Ipvlan).map(Some),
            _ => Ok(None),
        }
    }
}

fn bridge(options: &BTreeMap<String, String>) -> Result<BridgeOptions> {
    let mut bridge = BridgeOptions::default();
    for (key, value) in options {
        let refuse = || Error::Option { key: key.clone(), value: value.clone() };
        match key.strip_prefix(BRIDGE).unwrap_or(key.as_str()) {
            "name" => bridge.ifname = interface(value).ok_or_else(refuse)?,
            "enable_icc" => bridge.icc = boolean(value).ok_or_else(refuse)?,
            "enable_ip_masquerade" => {
                bridge.masquerade_v4 = boolean(value).ok_or_else(refuse)?;
                bridge.masquerade_v6 = bridge.masquerade_v4;
            }
            "inhibit_ipv4" => bridge.inhibit_ipv4 = boolean(value).ok_or_else(refuse)?,
            "host_binding_ipv4" => bridge.bind_v4 = Some(value.parse::<Ipv4Addr>().map_err(|_| refuse())?),
            "host_binding_ipv6" => bridge.bind_v6 = Some(value.parse::<Ipv6Addr>().map_err(|_| refuse())?),
            "gateway_mode_ipv4" => bridge.gateway_mode_v4 = gateway_mode(value).ok_or_else(refuse)?,
            "gateway_mode_ipv6" => bridge.gateway_mode_v6 = gateway_mode(value).ok_or_else(refuse)?,
            "trusted_host_interfaces" => {
                let names = value.split(':').map(interface).collect::<Option<Vec<_>>>();
                bridge.trusted_interfaces = names.ok_or_else(refuse)?;
            }
            MTU | "mtu" => bridge.mtu = mtu(value).ok_or_else(refuse)?,
            "com.docker.network.container_iface_prefix" | "com.docker.network.container_interface_prefix" => {
                bridge.container_prefix = prefix(value).ok_or_else(refuse)?;
            }
            _ => {}
        }
    }
    Ok(bridge)
}

fn macvlan(options: &BTreeMap<String, String>) -> Result<MacvlanOptions> {
    let mut all = MacvlanOptions { parent: String::new(), mode: MacvlanMode::Bridge, mtu: 0 };
    for (key, value) in options {
        match key.as_str() {
            "parent" => all.parent = parent(key, value)?,
            "macvlan_mode" => {
                let mode = if value.is_empty() { Some(MacvlanMode::Bridge) } else { modes::macvlan::parse(value) };
                all.mode = mode.ok_or_else(|| {
                    Error::Config(format!(
                        "requested macvlan mode '{value}' is not valid, 'bridge' mode is the macvlan driver default"
                    ))
                })?;
            }
            MTU => all.mtu = mtu(value).ok_or_else(|| Error::Option { key: key.clone(), value: value.clone() })?,
            _ => {}
        }
    }
    Ok(all)
}

fn ipvlan(options: &BTreeMap<String, String>) -> Result<IpvlanOptions> {
    let mut all = IpvlanOptions { parent: String::new(), mode: IpvlanMode::L2, flag: IpvlanFlag::Bridge, mtu: 0 };
    for (key, value) in options {
        match key.as_str() {
            "parent" => all.parent = parent(key, value)?,
            "ipvlan_mode" if !value.is_empty() => {
                all.mode = modes::ipvlan::parse(value).ok_or_else(|| {
                    Error::Config(format!(
                        "requested ipvlan mode '{value}' is not valid, 'l2' mode is the ipvlan driver default"
                    ))
                })?;
            }
            "ipvlan_flag" if !value.is_empty() => {
                all.flag = modes::ipvlan_flag::parse(value).ok_or_else(|| {
                    Error::Config(format!(
                        "requested ipvlan flag '{value}' is not valid, 'bridge' is the ipvlan driver default"
                    ))
                })?;
            }
            MTU => all.mtu = mtu(value).ok_or_else(|| Error::Option { key: key.clone(), value: value.clone() })?,
            _ => {}
        }
    }
    Ok(all)
}

fn parent(key: &str, value: &str) -> Result<String> {
    if value == "lo" {
        return Err(Error::Config("loopback interface is not a valid parent link".to_owned()));
    }
    if value.is_empty() {
        return Ok(String::new());
    }
    interface(value).ok_or_else(|| Error::Option { key: key.to_owned(), value: value.to_owned() })
}

/// Go's `strconv.ParseBool`.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

fn gateway_mode(text: &str) -> Option<GatewayMode> {
    match text {
        "nat" | "" => Some(GatewayMode::Nat),
        "nat-unprotected" => Some(GatewayMode::NatUnprotected),
        "routed" => Some(GatewayMode::Routed),
        "isolated" => Some(GatewayMode::Isolated),
        _ => None,
    }
}

fn mtu(text: &str) -> Option<u32> {
    // The kernel's largest for an Ethernet link.
    text.parse().ok().filter(|mtu| *mtu <= 65_535)
}

/// A name that the kernel takes for an interface.
fn interface(text: &str) -> Option<String> {
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    let fits = (1..=15).contains(&text.len()) && text != "." && text != ".." && !text.contains(bad);
    fits.then(|| text.to_owned())
}

/// The beginning of one, with room for a number.
fn prefix(text: &str) -> Option<String> {
    interface(text).filter(|text| text.len() <= 12 && text != "lo")
}

/// The address that ports are bound to which name none, out of a draft's or the daemon's settings.
pub(crate) fn bind_address(options: &BridgeOptions, daemon: IpAddr, ipv4: bool) -> IpAddr {
    match (ipv4, daemon) {
        (true, IpAddr::V4(ip)) => options.bind_v4.unwrap_or(ip).into(),
        (true, IpAddr::V6(_)) => options.bind_v4.unwrap_or(Ipv4Addr::UNSPECIFIED).into(),
        (false, IpAddr::V6(ip)) => options.bind_v6.unwrap_or(ip).into(),
        (false, IpAddr::V4(_)) => options.bind_v6.unwrap_or(Ipv6Addr::UNSPECIFIED).into(),
    }
}
