//! What a container asks of the network: its mode, and the ports it publishes.

use crate::container::Record;
use gantry_api_types::PortBinding;
use gantry_model::{Error, Result};
use gantry_network::{PortRequest, Proto};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// `HostConfig.NetworkMode`, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NetworkMode {
    /// The default bridge.
    Bridge,
    /// The host's network namespace.
    Host,
    /// A namespace with a loopback interface only.
    None,
    /// Another container's namespace: what the client wrote.
    Container(String),
    /// A network that a client has made: what the client wrote.
    Custom(String),
}

/// The networks that always exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Predefined {
    /// `bridge`.
    Bridge,
    /// `host`.
    Host,
    /// `none`.
    None,
}

impl Predefined {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Bridge, Self::Host, Self::None];

    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::None => "none",
        }
    }

    /// Its driver; that of `none` is called `null`.
    pub(crate) const fn driver(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::None => "null",
        }
    }
}

impl NetworkMode {
    /// The network it joins, as the client named it; `None` for another container's.
    pub(crate) fn network(&self) -> Option<&str> {
        match self {
            Self::Bridge => Some(Predefined::Bridge.name()),
            Self::Host => Some(Predefined::Host.name()),
            Self::None => Some(Predefined::None.name()),
            Self::Custom(name) => Some(name),
            Self::Container(_) => None,
        }
    }

    /// Whether the container has a network namespace of its own.
    pub(crate) const fn is_private(&self) -> bool {
        matches!(self, Self::Bridge | Self::None | Self::Custom(_))
    }
}

/// The network mode of a container.
pub(crate) fn mode(record: &Record) -> NetworkMode {
    if record.config.network_disabled {
        return NetworkMode::None;
    }
    parse_mode(&record.host_config.network_mode)
}

/// Reads the text of `NetworkMode`.
pub(crate) fn parse_mode(text: &str) -> NetworkMode {
    match text {
        "" | "default" | "bridge" => NetworkMode::Bridge,
        "host" => NetworkMode::Host,
        "none" => NetworkMode::None,
        _ => match text.strip_prefix("container:") {
            Some(name) => NetworkMode::Container(name.to_owned()),
            None => NetworkMode::Custom(text.to_owned()),
        },
    }
}

/// The ports that a container publishes. A binding of a port that is not exposed is checked and means nothing, as in
/// Docker before 29: its clients expose what they publish.
pub(crate) fn port_requests(record: &Record) -> Result<Vec<PortRequest>> {
    let exposed = record.config.exposed_ports.iter().flat_map(|ports| ports.keys());
    let exposed: BTreeSet<(u16, Proto)> = exposed.map(|port| parse_port(port)).collect::<Result<_>>()?;
    let mut requests = Vec::new();
    let mut published = BTreeSet::new();
    for (port, bindings) in record.host_config.port_bindings.iter().flatten() {
        let (container_port, proto) = parse_port(port)?;
        for binding in bindings.iter().flatten() {
            let request = request(container_port, proto, binding)?;
            if exposed.contains(&(container_port, proto)) {
                published.insert((container_port, proto));
                requests.push(request);
            }
        }
    }
    if record.host_config.publish_all_ports {
        let others = exposed.into_iter().filter(|port| !published.contains(port));
        requests.extend(others.map(|(container_port, proto)| PortRequest {
            container_port,
            proto,
            host_ip: None,
            host_ports: None,
        }));
    }
    Ok(requests)
}

fn request(container_port: u16, proto: Proto, binding: &PortBinding) -> Result<PortRequest> {
    let host_ip = match binding.host_ip.trim_matches(['[', ']']) {
        "" => None,
        text => Some(text.parse::<IpAddr>().map_err(|_| Error::invalid(format!("invalid IP address: {text}")))?),
    };
    Ok(PortRequest { container_port, proto, host_ip, host_ports: parse_host_ports(&binding.host_port)? })
}

/// `80/tcp` or `80`.
pub(crate) fn parse_port(text: &str) -> Result<(u16, Proto)> {
    let (number, proto) = text.split_once('/').unwrap_or((text, "tcp"));
    let invalid = || Error::invalid(format!("invalid port specification: {number:?}"));
    let proto = match proto.to_ascii_lowercase().as_str() {
        "tcp" | "" => Proto::Tcp,
        "udp" => Proto::Udp,
        "sctp" => Proto::Sctp,
        _ => return Err(Error::invalid(format!("invalid proto: {proto}"))),
    };
    let number = number.parse().ok().filter(|n| *n > 0).ok_or_else(invalid)?;
    Ok((number, proto))
}

/// Empty or 0 (any port), `8080`, or `8000-8010`.
pub(crate) fn parse_host_ports(text: &str) -> Result<Option<(u16, u16)>> {
    let invalid = || Error::invalid(format!("invalid port specification: {text:?}"));
    let number = |t: &str| t.parse::<u16>().map_err(|_| invalid());
    let (first, last) = match text.split_once('-') {
        _ if text.is_empty() => return Ok(None),
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    match (first, last) {
        (0, 0) => Ok(None),
        _ if first == 0 || last < first => Err(invalid()),
        _ => Ok(Some((first, last))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        assert_eq!(parse_mode("default"), NetworkMode::Bridge);
        assert_eq!(parse_mode("container:web"), NetworkMode::Container("web".into()));
        assert_eq!(parse_mode("mine"), NetworkMode::Custom("mine".into()));
    }

    #[test]
    fn ports() {
        assert_eq!(parse_port("53/udp").unwrap(), (53, Proto::Udp));
        assert_eq!(parse_port("80").unwrap(), (80, Proto::Tcp));
        assert_eq!(parse_port("xx/tcp").unwrap_err().to_string(), "invalid port specification: \"xx\"");
        assert!(parse_port("80/foo").is_err() && parse_port("0/tcp").is_err());
        assert_eq!(parse_host_ports("8000-8010").unwrap(), Some((8000, 8010)));
        assert_eq!(parse_host_ports("80").unwrap(), Some((80, 80)));
        assert_eq!(parse_host_ports("0").unwrap(), None);
        assert_eq!(parse_host_ports("").unwrap(), None);
        for bad in ["70000", "9-8", "x", "1-", "-"] {
            assert!(parse_host_ports(bad).is_err(), "{bad}");
        }
    }
}
