//! What a client may ask of an endpoint, in the reference engine's words.

use super::ipam;
use super::record::Network;
use crate::Engine;
use crate::container::Record;
use crate::plan::network::mode;
use gantry_api_types::EndpointSettings;
use gantry_model::{Error, Result};
use gantry_network::{EndpointRequest, MacAddr};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Names the interface in the container.
const IFNAME: &str = "com.docker.network.endpoint.ifname";
/// Settings of the interface, separated by commas; `IFNAME` in them stands for its name.
const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";

/// What the client asked for, without what only the engine says.
pub(crate) fn asked(settings: EndpointSettings) -> EndpointSettings {
    EndpointSettings {
        ipam_config: settings.ipam_config,
        links: settings.links,
        aliases: settings.aliases,
        mac_address: settings.mac_address,
        driver_opts: settings.driver_opts,
        gw_priority: settings.gw_priority,
        ..EndpointSettings::default()
    }
}

/// Whether the settings make sense by themselves; the network may not exist yet.
pub(crate) fn check(settings: &EndpointSettings) -> Result<()> {
    parse(settings)?;
    settings.links.iter().flatten().try_for_each(|link| crate::links::parse(link).map(drop))?;
    interface_name(settings)?;
    interface_settings(settings, "eth0").map(drop)
}

/// Whether they make sense on this network.
pub(crate) fn check_on(network: &Network, settings: &EndpointSettings) -> Result<()> {
    check(settings)?;
    let wanted = parse(settings)?;
    let addresses = [wanted.ipv4.map(IpAddr::V4), wanted.ipv6.map(IpAddr::V6)];
    if !network.is_custom() {
        if addresses.iter().any(Option::is_some) {
            return Err(Error::invalid("user specified IP address is supported on user defined networks only"));
        }
        if settings.aliases.as_ref().is_some_and(|aliases| !aliases.is_empty()) {
            return Err(Error::invalid(
                "network-scoped alias is supported only for containers in user defined networks",
            ));
        }
        return Ok(());
    }
    for address in addresses.into_iter().flatten() {
        if network.chosen_pools.contains(&if address.is_ipv4() { 4 } else { 6 }) {
            return Err(Error::invalid(
                "invalid endpoint settings:\nuser specified IP address is supported only when connecting to networks \
                 with user configured subnets",
            ));
        }
        if !ipam::contains(&network.ipam, address) {
            return Err(Error::invalid(format!(
                "invalid endpoint settings:\nno configured subnet or ip-range contain the IP address {address}"
            )));
        }
    }
    Ok(())
}

struct Wanted {
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
    link_local: Vec<IpAddr>,
    mac: Option<MacAddr>,
}

fn parse(settings: &EndpointSettings) -> Result<Wanted> {
    let ipam = settings.ipam_config.clone().unwrap_or_default();
    let refuse = |what: &str, text: &str| Error::invalid(format!("invalid endpoint settings:\ninvalid {what}: {text}"));
    let ipv4 = match ipam.ipv4_address.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| refuse("IPv4 address", text))?),
    };
    let ipv6 = match ipam.ipv6_address.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| refuse("IPv6 address", text))?),
    };
    let link_local = ipam.link_local_ips.iter().flatten();
    let link_local = link_local.map(|text| text.parse().map_err(|_| refuse("link-local IP address", text)));
    let mac = match settings.mac_address.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| Error::invalid(format!("invalid MAC address: {text}")))?),
    };
    if ipv4.is_some_and(|ip: Ipv4Addr| ip.is_unspecified()) {
        return Err(refuse("IPv4 address", &ipam.ipv4_address));
    }
    if ipv6.is_some_and(|ip: Ipv6Addr| ip.is_unspecified()) {
        return Err(refuse("IPv6 address", &ipam.ipv6_address));
    }
    Ok(Wanted { ipv4, ipv6, link_local: link_local.collect::<Result<_>>()?, mac })
}

/// What the network room is asked for.
pub(crate) fn request(
    engine: &Engine,
    network: &Network,
    record: &Record,
    settings: &EndpointSettings,
) -> Result<EndpointRequest> {
    let wanted = parse(settings)?;
    // The container's own address of old is that of its mode's network.
    let own = mode(record).network().is_some_and(|name| engine.network_name(name) == network.name);
    let of_container = own.then_some(record.config.mac_address.as_str());
    let mac = match (wanted.mac, of_container.filter(|text| !text.is_empty())) {
        (Some(mac), _) => Some(mac),
        (None, Some(text)) => Some(text.parse().map_err(|_| Error::invalid(format!("invalid MAC address: {text}")))?),
        (None, None) => None,
    };
    Ok(EndpointRequest {
        ipv4: wanted.ipv4,
        ipv6: wanted.ipv6.filter(|_| network.ipv6),
        link_local: wanted.link_local,
        mac,
        ..EndpointRequest::new(network.id, record.id)
    })
}

/// The name that the client wants for the interface.
pub(crate) fn interface_name(settings: &EndpointSettings) -> Result<Option<&str>> {
    let Some(name) = option(settings, IFNAME) else { return Ok(None) };
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if !(1..=15).contains(&name.len()) || matches!(name, "." | ".." | "lo") || name.contains(bad) {
        return Err(Error::invalid(format!("invalid interface name {name:?} in {IFNAME}")));
    }
    Ok(Some(name))
}

/// The settings of an interface, as paths below `net/` with their values.
pub(crate) fn interface_settings(settings: &EndpointSettings, ifname: &str) -> Result<Vec<(String, String)>> {
    let Some(text) = option(settings, SYSCTLS).filter(|text| !text.is_empty()) else { return Ok(Vec::new()) };
    let parse = |one: &str| {
        let refuse =
            || Error::invalid(format!("invalid endpoint sysctl setting {one:?}: want net.X.Y.IFNAME.Z=V in {SYSCTLS}"));
        let (key, value) = one.split_once('=').ok_or_else(refuse)?;
        let parts: Vec<&str> = key.split('.').collect();
        let &["net", family @ ("ipv4" | "ipv6" | "mpls"), kind @ ("conf" | "neigh"), "IFNAME", name] = &parts[..]
        else {
            return Err(refuse());
        };
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_word) || value.contains(char::is_control) {
            return Err(refuse());
        }
        Ok((format!("{family}/{kind}/{ifname}/{name}"), value.to_owned()))
    };
    text.split(',').map(parse).collect()
}

fn option<'a>(settings: &'a EndpointSettings, key: &str) -> Option<&'a str> {
    settings.driver_opts.as_ref()?.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_api_types::EndpointIpamConfig;

    fn with_option(key: &str, value: &str) -> EndpointSettings {
        let driver_opts = Some([(key.to_owned(), value.to_owned())].into());
        EndpointSettings { driver_opts, ..EndpointSettings::default() }
    }

    #[test]
    fn addresses() {
        let message = |v4: &str, v6: &str, mac: &str| {
            let ipam = EndpointIpamConfig { ipv4_address: v4.into(), ipv6_address: v6.into(), link_local_ips: None };
            let settings =
                EndpointSettings { ipam_config: Some(ipam), mac_address: mac.into(), ..EndpointSettings::default() };
            check(&settings).err().map_or_else(String::new, |e| e.to_string())
        };
        assert_eq!(message("10.0.0.1", "fd00::1", "02:00:00:00:00:01"), "");
        assert_eq!(message("x", "", ""), "invalid endpoint settings:\ninvalid IPv4 address: x");
        assert_eq!(message("0.0.0.0", "", ""), "invalid endpoint settings:\ninvalid IPv4 address: 0.0.0.0");
        assert_eq!(message("", "10.0.0.1", ""), "invalid endpoint settings:\ninvalid IPv6 address: 10.0.0.1");
        assert_eq!(message("", "", "x"), "invalid MAC address: x");
    }

    #[test]
    fn interfaces() {
        assert_eq!(interface_name(&with_option(IFNAME, "lan0")).unwrap(), Some("lan0"));
        for bad in ["", "lo", "a/b", "a b", "much-too-long-a-name"] {
            assert!(interface_name(&with_option(IFNAME, bad)).is_err(), "{bad}");
        }
        let settings = with_option(SYSCTLS, "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.forwarding=0");
        let found = interface_settings(&settings, "lan0").unwrap();
        assert_eq!(found[0], ("ipv4/conf/lan0/log_martians".to_owned(), "1".to_owned()));
        assert_eq!(found[1].0, "ipv6/conf/lan0/forwarding");
        for bad in
            ["net.core.somaxconn=1", "net.ipv4.conf.all.x=1", "net.ipv4.conf.IFNAME.x", "net.ipv4.conf.IFNAME.a/b=1"]
        {
            assert!(interface_settings(&with_option(SYSCTLS, bad), "eth0").is_err(), "{bad}");
        }
    }
}
