//! Networks.

use super::{Shaped, edited, items, remove};
use crate::version::ApiVersion;
use gantry_api_types::Network;

/// The list. `EnableIPv4` came with 1.48.
pub(crate) fn networks(version: ApiVersion, list: &Vec<Network>) -> Shaped<'_, Vec<Network>> {
    if version >= ApiVersion::v1(48) {
        return Shaped::AsIs(list);
    }
    edited(list, |json| items(json).for_each(|network| remove(network, &["EnableIPv4"])))
}

/// One network.
pub(crate) fn network(version: ApiVersion, network: &Network) -> Shaped<'_, Network> {
    if version >= ApiVersion::v1(48) {
        return Shaped::AsIs(network);
    }
    edited(network, |json| remove(json, &["EnableIPv4"]))
}
