//! Which registries may be reached without verification, or without TLS.

use super::{
    proxy::Network,
    url::{Origin, split_host_port},
};
use std::net::IpAddr;

/// `insecure-registries`, and loopback.
#[derive(Debug)]
pub(crate) struct Insecure {
    names: Vec<(String, Option<u16>)>,
    networks: Vec<Network>,
}

impl Insecure {
    /// Reads the setting's elements; what is neither a network nor a host is said and left out.
    pub(crate) fn new(elements: &[String]) -> Self {
        let (mut names, mut networks) = (Vec::new(), Vec::new());
        for element in elements {
            // Docker takes a scheme as well, with a warning.
            let element = element.trim();
            let bare = element.strip_prefix("http://").or(element.strip_prefix("https://")).unwrap_or(element);
            if let Some(network) = Network::parse(bare) {
                networks.push(network);
            } else if let Some(name) = split_host_port(bare) {
                names.push(name);
            } else {
                tracing::warn!("insecure registry {element:?} is neither host, host:port nor network");
            }
        }
        Self { names, networks }
    }

    /// Whether the host is named, or is an address of a network that is. An element without a port means the usual
    /// ports.
    pub(crate) fn names(&self, origin: &Origin) -> bool {
        let usual = origin.port == if origin.https { 443 } else { 80 };
        let fits = |port: &Option<u16>| port.map_or(usual, |port| port == origin.port);
        self.names.iter().any(|(host, port)| *host == origin.host && fits(port))
            || origin.host.parse().is_ok_and(|address| self.has(address))
    }

    /// Whether the address is of an insecure network.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || self.networks.iter().any(|network| network.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::Insecure;
    use crate::transport::url::Url;

    #[test]
    fn hosts_ports_networks_and_loopback() {
        let insecure = Insecure::new(&["reg".into(), "Other:5000".into(), "10.0.0.0/8".into(), "/".into()]);
        for (url, expected) in [
            ("https://reg", true),
            ("http://reg", true),
            ("https://reg:5000", false),
            ("https://other:5000", true),
            ("https://other", false),
            ("https://10.1.2.3:1", true),
            ("https://11.1.2.3:1", false),
            ("https://127.0.0.2:1", true),
            ("https://[::1]:1", true),
            ("https://sub.reg", false),
        ] {
            assert_eq!(insecure.names(&Url::parse(url).unwrap().origin), expected, "{url}");
        }
    }
}
