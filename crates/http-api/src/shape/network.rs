//! Networks.

use super::{Shaped, edited, items, remove};
use crate::version::ApiVersion;
use gantry_api_types::Network;
use serde_json::Value;

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

/// Networks that only hold a configuration are not in the specification before 1.36.
fn edit(version: ApiVersion, network: &mut Value) {
    remove(network, &["EnableIPv4"]);
    if version < ApiVersion::v1(36) {
        remove(network, &["ConfigFrom", "ConfigOnly"]);
    }
}
