//! Docker's driver options (`docker network create -o`).

use crate::spec::modes;
use crate::{BridgeOptions, Driver, Error, GatewayMode, IpvlanOptions, MacvlanOptions, Result};
use gantry_linux::netlink::route::{IpvlanFlag, IpvlanMode, MacvlanMode};
use gantry_model::go::parse_bool;
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
            "enable_icc" => bridge.icc = parse_bool(value).ok_or_else(refuse)?,
            "enable_ip_masquerade" => {
                bridge.masquerade_v4 = parse_bool(value).ok_or_else(refuse)?;
                bridge.masquerade_v6 = bridge.masquerade_v4;
            }
            "inhibit_ipv4" => bridge.inhibit_ipv4 = parse_bool(value).ok_or_else(refuse)?,
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

#[cfg(test)]
mod tests {
    use crate::{BridgeOptions, Driver, GatewayMode};
    use gantry_linux::netlink::route::{IpvlanMode, MacvlanMode};
    use std::collections::BTreeMap;

    fn parse(driver: &str, options: &[(&str, &str)]) -> Result<Option<Driver>, String> {
        let options: BTreeMap<_, _> = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Driver::from_options(driver, &options).map_err(|e| e.to_string())
    }

    #[test]
    fn of_bridges() {
        let key = |name: &str| format!("com.docker.network.bridge.{name}");
        let pairs = [
            (key("name"), "br-x"),
            (key("enable_icc"), "0"),
            (key("enable_ip_masquerade"), "false"),
            (key("host_binding_ipv4"), "127.0.0.1"),
            (key("gateway_mode_ipv6"), "routed"),
            (key("trusted_host_interfaces"), "eth0:wg0"),
            ("com.docker.network.driver.mtu".to_owned(), "1400"),
            ("com.docker.network.container_iface_prefix".to_owned(), "net"),
            ("anything.else".to_owned(), "x"),
        ];
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        let expected = BridgeOptions {
            ifname: "br-x".into(),
            icc: false,
            masquerade_v4: false,
            masquerade_v6: false,
            mtu: 1400,
            bind_v4: Some([127, 0, 0, 1].into()),
            gateway_mode_v6: GatewayMode::Routed,
            trusted_interfaces: vec!["eth0".into(), "wg0".into()],
            container_prefix: "net".into(),
            ..BridgeOptions::default()
        };
        assert_eq!(parse("bridge", &pairs), Ok(Some(Driver::Bridge(expected))));
        for (name, value) in [
            ("enable_icc", "maybe"),
            ("host_binding_ipv4", "::1"),
            ("gateway_mode_ipv4", "magic"),
            ("name", "a/b"),
            ("name", "sixteen-letters-"),
            ("trusted_host_interfaces", "eth0::"),
        ] {
            assert!(parse("bridge", &[(&key(name), value)]).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn of_others() {
        let Ok(Some(Driver::Macvlan(macvlan))) = parse("macvlan", &[("parent", "eth0.5"), ("macvlan_mode", "vepa")])
        else {
            panic!("no macvlan");
        };
        assert_eq!((macvlan.parent.as_str(), macvlan.mode), ("eth0.5", MacvlanMode::Vepa));
        let Ok(Some(Driver::Ipvlan(ipvlan))) = parse("ipvlan", &[("ipvlan_mode", "l3")]) else { panic!("no ipvlan") };
        assert_eq!(ipvlan.mode, IpvlanMode::L3);
        assert!(parse("macvlan", &[("macvlan_mode", "x")]).unwrap_err().contains("macvlan mode 'x' is not valid"));
        assert!(parse("ipvlan", &[("parent", "lo")]).unwrap_err().contains("loopback"));
        assert_eq!(parse("overlay", &[]), Ok(None));
    }

    #[test]
    fn specs_survive_their_records() {
        let driver = parse("ipvlan", &[("parent", "eth0"), ("ipvlan_mode", "l3s"), ("ipvlan_flag", "vepa")]);
        let driver = driver.unwrap().unwrap();
        let text = serde_json::to_string(&driver).unwrap();
        assert_eq!(text, r#"{"ipvlan":{"parent":"eth0","mode":"l3s","flag":"vepa","mtu":0}}"#);
        assert_eq!(serde_json::from_str::<Driver>(&text).unwrap(), driver);
    }
}
