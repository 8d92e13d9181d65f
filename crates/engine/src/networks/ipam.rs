//! The address pools of a create request: checked in the reference engine's words, and read.

use gantry_api_types::{Ipam, IpamConfig};
use gantry_model::{Error, Result};
use gantry_network::{Net, PoolRequest};
use std::net::IpAddr;

/// The IPAM driver that everybody uses.
pub(super) const DEFAULT: &str = "default";
/// The one that gives no addresses.
pub(super) const NULL: &str = "null";

/// Checks all pools; every mistake is told.
pub(super) fn check(ipam: &Ipam, ipv6: bool) -> Result<()> {
    let mut mistakes = Vec::new();
    for config in ipam.config.iter().flatten() {
        check_pool(config, ipv6, &mut mistakes);
    }
    let text = match mistakes.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        many => format!("* {}", many.join("\n* ")),
    };
    Err(Error::invalid(format!("invalid network config:\n{text}")))
}

fn check_pool(config: &IpamConfig, ipv6: bool, mistakes: &mut Vec<String>) {
    let Some((address, subnet)) = cidr(&config.subnet) else {
        mistakes.push(format!("invalid subnet {}: invalid CIDR block notation", config.subnet));
        return;
    };
    if !ipv6 && !subnet.is_ipv4() {
        // It is kept and means nothing.
        return;
    }
    if address != subnet.first() {
        mistakes.push(format!("invalid subnet {}: it should be {subnet}", config.subnet));
    }
    check_range(&config.ip_range, subnet, mistakes);
    if let Err(reason) = check_address(&config.gateway, subnet) {
        mistakes.push(format!("invalid gateway {}: {reason}", config.gateway));
    }
    for (name, address) in config.auxiliary_addresses.iter().flatten() {
        if let Err(reason) = check_address(address, subnet) {
            mistakes.push(format!("invalid auxiliary address {name}: {reason}"));
        }
    }
}

fn check_range(text: &str, subnet: Net, mistakes: &mut Vec<String>) {
    if text.is_empty() {
        return;
    }
    let Some((address, range)) = cidr(text) else {
        mistakes.push(format!("invalid ip-range {text}: invalid CIDR block notation"));
        return;
    };
    if range.is_ipv4() != subnet.is_ipv4() {
        mistakes.push(format!("invalid ip-range {text}: parent subnet is an {} block", family(subnet)));
        return;
    }
    if range.prefix_len() < subnet.prefix_len() {
        mistakes.push(format!("invalid ip-range {text}: CIDR block is bigger than its parent subnet {subnet}"));
    }
    if address != range.first() {
        mistakes.push(format!("invalid ip-range {text}: it should be {range}"));
    }
    if !subnet.overlaps(range) {
        mistakes.push(format!("invalid ip-range {text}: parent subnet {subnet} doesn't contain ip-range"));
    }
}

fn check_address(text: &str, subnet: Net) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let address: IpAddr = text.parse().map_err(|_| "invalid address".to_owned())?;
    if address.is_ipv4() != subnet.is_ipv4() {
        return Err(format!("parent subnet is an {} block", family(subnet)));
    }
    if !subnet.contains(address) {
        return Err(format!("parent subnet {subnet} doesn't contain this address"));
    }
    Ok(())
}

/// The pools that [`check`] has let through, in the network room's form. Those of a family that the network does not
/// have are left out.
pub(super) fn pools(ipam: &Ipam, ipv4: bool, ipv6: bool) -> Vec<PoolRequest> {
    let configs = ipam.config.iter().flatten();
    let pools = configs.filter_map(|config| {
        let (_, subnet) = cidr(&config.subnet)?;
        let wanted = if subnet.is_ipv4() { ipv4 } else { ipv6 };
        wanted.then(|| PoolRequest {
            subnet: Some(subnet),
            range: cidr(&config.ip_range).map(|(_, range)| range),
            gateway: config.gateway.parse().ok(),
            aux: config
                .auxiliary_addresses
                .iter()
                .flatten()
                .filter_map(|(name, address)| Some((name.clone(), address.parse().ok()?)))
                .collect(),
        })
    });
    pools.collect()
}

/// Whether an address is in one of the subnets.
pub(super) fn contains(ipam: &Ipam, address: IpAddr) -> bool {
    ipam.config.iter().flatten().any(|config| cidr(&config.subnet).is_some_and(|(_, subnet)| subnet.contains(address)))
}

/// An address with a prefix length, and the subnet that it is in.
pub(super) fn cidr(text: &str) -> Option<(IpAddr, Net)> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let bits: u8 = bits.parse().ok()?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    (bits <= width).then(|| (address, Net::of(address, bits)))
}

fn family(subnet: Net) -> &'static str {
    if subnet.is_ipv4() { "IPv4" } else { "IPv6" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(subnet: &str, range: &str, gateway: &str, aux: &str) -> String {
        let aux = (!aux.is_empty()).then(|| [("a".to_owned(), aux.to_owned())].into());
        let config = IpamConfig {
            subnet: subnet.into(),
            ip_range: range.into(),
            gateway: gateway.into(),
            auxiliary_addresses: aux,
        };
        let ipam = Ipam { config: Some(vec![config]), ..Ipam::default() };
        check(&ipam, true).err().map_or_else(String::new, |e| e.to_string().replace("invalid network config:\n", ""))
    }

    #[test]
    fn in_the_reference_s_words() {
        assert_eq!(message("10.0.0.0/24", "10.0.0.128/25", "10.0.0.1", "10.0.0.2"), "");
        assert_eq!(message("x", "", "", ""), "invalid subnet x: invalid CIDR block notation");
        assert_eq!(message("", "", "", ""), "invalid subnet : invalid CIDR block notation");
        assert_eq!(message("10.0.0.1/24", "", "", ""), "invalid subnet 10.0.0.1/24: it should be 10.0.0.0/24");
        assert_eq!(message("10.0.0.0/33", "", "", ""), "invalid subnet 10.0.0.0/33: invalid CIDR block notation");
        assert_eq!(
            message("10.0.0.0/24", "10.1.0.0/25", "", ""),
            "invalid ip-range 10.1.0.0/25: parent subnet 10.0.0.0/24 doesn't contain ip-range"
        );
        assert_eq!(
            message("10.0.0.0/24", "", "fd00::1", ""),
            "invalid gateway fd00::1: parent subnet is an IPv4 block"
        );
        assert_eq!(
            message("10.0.0.0/24", "", "x", "10.9.0.1"),
            "* invalid gateway x: invalid address\n\
             * invalid auxiliary address a: parent subnet 10.0.0.0/24 doesn't contain this address"
        );
    }

    #[test]
    fn pools_of_an_absent_family_mean_nothing() {
        let config = |subnet: &str| IpamConfig { subnet: subnet.into(), ..IpamConfig::default() };
        let ipam = Ipam { config: Some(vec![config("10.0.0.0/24"), config("fd00::1/64")]), ..Ipam::default() };
        check(&ipam, false).unwrap();
        assert_eq!(pools(&ipam, true, false).len(), 1);
        assert!(contains(&ipam, "10.0.0.9".parse().unwrap()) && !contains(&ipam, "10.0.1.9".parse().unwrap()));
    }
}
