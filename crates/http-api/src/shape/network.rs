//! Networks.

use super::{Shaped, edited, items, remove};
use crate::version::ApiVersion;
use gantry_api_types::{EndpointSettings, Network, NetworkCreateRequest};
use serde_json::Value;
use std::net::IpAddr;

/// The list. `EnableIPv4` came with 1.48.
pub(crate) fn networks(version: ApiVersion, list: &Vec<Network>) -> Shaped<'_, Vec<Network>> {
    if version >= ApiVersion::v1(48) {
        return Shaped::AsIs(list);
    }
    edited(list, |json| items(json).for_each(|network| edit(version, network)))
}

/// One network.
pub(crate) fn network(version: ApiVersion, network: &Network) -> Shaped<'_, Network> {
    if version >= ApiVersion::v1(48) {
        return Shaped::AsIs(network);
    }
    edited(network, |json| edit(version, json))
}

/// Brings a create request into the newest form. Clients before 1.44 could give a subnet with the bits of a host in it.
pub(crate) fn adapt(version: ApiVersion, request: &mut NetworkCreateRequest) {
    if version < ApiVersion::v1(48) {
        request.enable_ipv4 = None;
    }
    if version < ApiVersion::v1(44) {
        for config in request.ipam.iter_mut().flat_map(|ipam| ipam.config.iter_mut().flatten()) {
            mask(&mut config.subnet);
            mask(&mut config.ip_range);
        }
    }
}

/// Fields of an endpoint that the client's version did not have are as if they had not been sent.
pub(crate) fn adapt_endpoint(version: ApiVersion, settings: &mut EndpointSettings) {
    if version < ApiVersion::v1(48) {
        settings.gw_priority = 0;
    }
    if version < ApiVersion::v1(44) {
        // Accepted and without effect.
        settings.mac_address.clear();
    }
}

/// Clears the bits behind the prefix of `address/length`; anything else stays for others to refuse.
fn mask(text: &mut String) {
    let Some((address, length)) = text.split_once('/') else { return };
    let (Ok(address), Ok(length)) = (address.parse::<IpAddr>(), length.parse::<u32>()) else { return };
    let masked = match address {
        IpAddr::V4(ip) if length <= 32 => {
            let bits = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            IpAddr::V4((u32::from(ip) & bits).into())
        }
        IpAddr::V6(ip) if length <= 128 => {
            let bits = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            IpAddr::V6((u128::from(ip) & bits).into())
        }
        _ => return,
    };
    *text = format!("{masked}/{length}");
}

/// Networks that only hold a configuration are not in the specification before 1.36.
fn edit(version: ApiVersion, network: &mut Value) {
    remove(network, &["EnableIPv4"]);
    if version < ApiVersion::v1(36) {
        remove(network, &["ConfigFrom", "ConfigOnly"]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks() {
        let masked = |text: &str| {
            let mut text = text.to_owned();
            mask(&mut text);
            text
        };
        assert_eq!(masked("10.0.0.7/24"), "10.0.0.0/24");
        assert_eq!(masked("10.0.0.7/0"), "0.0.0.0/0");
        assert_eq!(masked("10.0.0.7/32"), "10.0.0.7/32");
        assert_eq!(masked("fd00::1/64"), "fd00::/64");
        for same in ["", "x", "10.0.0.1", "10.0.0.1/33", "10.0.0.1/x", "/24"] {
            assert_eq!(masked(same), same);
        }
    }
}
