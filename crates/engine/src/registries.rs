//! What clients see of the configured registries.

use crate::config::RegistryConfig;
use gantry_api_types::info::{IndexInfo, RegistryServiceConfig};
use std::collections::BTreeMap;

/// Docker's own registry, which is configured by its mirrors.
const HUB: &str = "docker.io";

/// `/info`'s `RegistryConfig`.
pub(crate) fn shown(config: &RegistryConfig) -> RegistryServiceConfig {
    let (mut networks, names): (Vec<String>, Vec<String>) =
        config.insecure.iter().cloned().partition(|name| name.contains('/'));
    // Registries on this machine may always speak plain HTTP, as in Docker.
    for own in ["::1/128", "127.0.0.0/8"] {
        if !networks.iter().any(|network| network == own) {
            networks.push(own.to_owned());
        }
    }
    let index = |name: String| IndexInfo { name: name.clone(), mirrors: Vec::new(), secure: false, official: false };
    let mut index_configs: BTreeMap<String, IndexInfo> =
        names.into_iter().map(|name| (name.clone(), index(name))).collect();
    let hub = IndexInfo { name: HUB.to_owned(), mirrors: config.mirrors.clone(), secure: true, official: true };
    index_configs.insert(HUB.to_owned(), hub);
    RegistryServiceConfig { insecure_registry_cidrs: networks, index_configs, mirrors: config.mirrors.clone() }
}

/// A proxy's URL without its credentials.
pub(crate) fn masked(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let authority = rest.find('/').map_or(rest, |end| &rest[..end]);
    match authority.rfind('@') {
        Some(at) if !scheme.is_empty() => format!("{scheme}://xxxxx:xxxxx{}", &rest[at..]),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_of_registries() {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let config = RegistryConfig {
            insecure: words(&["10.0.0.0/8", "reg:5000", "127.0.0.0/8"]),
            mirrors: words(&["https://m/"]),
            ..RegistryConfig::default()
        };
        let shown = shown(&config);
        assert_eq!(shown.insecure_registry_cidrs, ["10.0.0.0/8", "127.0.0.0/8", "::1/128"]);
        assert!(!shown.index_configs["reg:5000"].secure && shown.index_configs["docker.io"].official);
        assert_eq!(shown.index_configs["docker.io"].mirrors, ["https://m/"]);
    }

    #[test]
    fn credentials_stay_here() {
        assert_eq!(masked("http://u:p@proxy:1/x"), "http://xxxxx:xxxxx@proxy:1/x");
        assert_eq!(masked("http://proxy:1/a@b"), "http://proxy:1/a@b");
        assert_eq!(masked(""), "");
    }
}
