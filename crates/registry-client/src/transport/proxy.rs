//! Which proxy a request goes through: the rules of Go's `httpproxy`, which the variables are known by.

use super::url::{Origin, Url};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use std::net::IpAddr;

/// A proxy.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    pub(crate) origin: Origin,
    /// `Proxy-Authorization`.
    pub(crate) authorization: Option<HeaderValue>,
}

/// The proxies, and who is reached without one.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    exempt: Vec<Exempt>,
}

/// An element of `NO_PROXY`.
#[derive(Debug)]
enum Exempt {
    Everything,
    Network(Network),
    Address(IpAddr, Option<u16>),
    /// `suffix` begins with a dot; `itself` says whether the bare domain is meant as well.
    Domain {
        suffix: String,
        itself: bool,
        port: Option<u16>,
    },
}

/// Addresses that share a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Parses `address/bits`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let (address, bits) = (address.parse::<IpAddr>().ok()?, bits.parse::<u8>().ok()?);
        (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some(Self { address, bits })
    }

    /// Whether `address` is one of them.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.bits);
                (net.to_bits() ^ address.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.bits);
                (net.to_bits() ^ address.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl Proxies {
    /// Reads the three settings. What is no proxy's URL is said and left out.
    pub(crate) fn new(http: &str, https: &str, no_proxy: &str) -> Self {
        Self { http: parse_proxy(http), https: parse_proxy(https), exempt: parse_exempt(no_proxy) }
    }

    /// The proxy on the way to `origin`.
    pub(crate) fn on_the_way_to(&self, origin: &Origin) -> Option<&Proxy> {
        let proxy = if origin.https { self.https.as_ref() } else { self.http.as_ref() }?;
        (!self.is_exempt(origin)).then_some(proxy)
    }

    fn is_exempt(&self, origin: &Origin) -> bool {
        let address = origin.host.parse::<IpAddr>().ok();
        if origin.host == "localhost" || address.is_some_and(|a| a.to_canonical().is_loopback()) {
            return true;
        }
        let port_fits = |port: &Option<u16>| port.is_none_or(|port| port == origin.port);
        self.exempt.iter().any(|exempt| match exempt {
            Exempt::Everything => true,
            Exempt::Network(network) => address.is_some_and(|a| network.contains(a)),
            Exempt::Address(exempt, port) => address.is_some_and(|a| a.to_canonical() == *exempt) && port_fits(port),
            Exempt::Domain { suffix, itself, port } => {
                (origin.host.ends_with(suffix.as_str()) || (*itself && origin.host == suffix[1..])) && port_fits(port)
            }
        })
    }
}

fn parse_proxy(text: &str) -> Option<Proxy> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    // `proxy.example:3128` is how many people write it.
    let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("http://{text}")) };
    let Ok(url) = url else {
        // The text may hold a password: it is not repeated.
        tracing::warn!("a configured proxy is not a URL of the schemes http or https; it is not used");
        return None;
    };
    let authorization = url.user_info.as_deref().and_then(|user_info| {
        let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        let mut plain = percent_decode_str(user).collect::<Vec<u8>>();
        plain.push(b':');
        plain.extend(percent_decode_str(password));
        let mut value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(plain))).ok()?;
        value.set_sensitive(true);
        Some(value)
    });
    Some(Proxy { origin: url.origin, authorization })
}

fn parse_exempt(text: &str) -> Vec<Exempt> {
    text.split(',').filter_map(|element| parse_element(&element.trim().to_ascii_lowercase())).collect()
}

fn parse_element(element: &str) -> Option<Exempt> {
    if element == "*" {
        return Some(Exempt::Everything);
    }
    if let Some(network) = Network::parse(element) {
        return Some(Exempt::Network(network));
    }
    if let Ok(address) = element.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(Exempt::Address(address.to_canonical(), None));
    }
    let (host, port) = match element.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse::<u16>().ok()?)),
        None => (element, None),
    };
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(Exempt::Address(address.to_canonical(), port));
    }
    let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
    match host {
        "" | "." => None,
        dotted if dotted.starts_with('.') => Some(Exempt::Domain { suffix: dotted.to_owned(), itself: false, port }),
        domain => Some(Exempt::Domain { suffix: format!(".{domain}"), itself: true, port }),
    }
}

#[cfg(test)]
mod tests {
    use super::{Network, Proxies};
    use crate::transport::url::Url;

    fn proxied(no_proxy: &str, url: &str) -> bool {
        let proxies = Proxies::new("http://p:1", "http://p:2", no_proxy);
        proxies.on_the_way_to(&Url::parse(url).unwrap().origin).is_some()
    }

    #[test]
    fn exempts_as_go_does() {
        for (no_proxy, url, expected) in [
            ("", "http://reg.example", true),
            ("", "http://localhost:5000", false),
            ("", "http://127.8.9.1", false),
            ("", "https://[::1]:5", false),
            ("*", "http://reg.example", false),
            ("example", "http://reg.example", false),
            ("reg.example", "http://reg.example", false),
            (".reg.example", "http://reg.example", true),
            ("*.example", "http://reg.example", false),
            (".example", "http://reg.example", false),
            ("ample", "http://reg.example", true),
            ("reg.example:443", "http://reg.example", true),
            ("reg.example:443", "https://reg.example", false),
            ("a, REG.example ,b", "https://reg.example", false),
            ("10.0.0.0/8", "http://10.2.3.4", false),
            ("10.0.0.0/8", "http://11.2.3.4", true),
            ("10.2.3.4:80", "http://10.2.3.4", false),
            ("10.2.3.4:81", "http://10.2.3.4", true),
            ("fd00::/8", "http://[fd01::1]", false),
            ("[fd01::1]:80", "http://[fd01::1]", false),
            ("0.0.0.0/0", "http://9.9.9.9", false),
        ] {
            assert_eq!(proxied(no_proxy, url), expected, "{no_proxy} {url}");
        }
    }

    #[test]
    fn reads_proxies() {
        let proxies = Proxies::new("user:p%40ss@proxy:3128", "socks5://x", "");
        let origin = Url::parse("http://reg").unwrap().origin;
        let proxy = proxies.on_the_way_to(&origin).unwrap();
        assert_eq!(proxy.origin.to_string(), "http://proxy:3128");
        assert_eq!(proxy.authorization.as_ref().unwrap(), "Basic dXNlcjpwQHNz");
        assert!(proxies.on_the_way_to(&Url::parse("https://reg").unwrap().origin).is_none());
    }

    #[test]
    fn networks() {
        for bad in ["", "1.2.3.4", "1.2.3.4/33", "x/8", "::/129", "1.2.3.4/-1"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
        assert!(Network::parse("127.0.0.0/8").unwrap().contains("::ffff:127.0.0.1".parse().unwrap()));
    }
}
