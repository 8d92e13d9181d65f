//! URLs as far as registries use them: `http` and `https`, and references relative to them.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use std::fmt;

/// Longer than any signed URL that storage services hand out.
const MAX_LENGTH: usize = 16 << 10;

/// What servers write into `Location` although no URI may hold it.
const TOLERATED: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

/// Scheme, host and port: what credentials and connections belong to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) https: bool,
    /// Lower case; an IPv6 address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// A URL without its user information and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) origin: Origin,
    /// Path and query, beginning with a slash, percent-encoded.
    pub(crate) target: String,
    /// `user:password` as it stood before the host, still percent-encoded; only proxies use it.
    pub(crate) user_info: Option<String>,
}

impl Origin {
    /// `host[:port]`, the port only where it is not the scheme's own, as in the `Host` header.
    pub(crate) fn authority(&self) -> String {
        let default = if self.https { 443 } else { 80 };
        if self.port == default { self.bracketed() } else { self.address() }
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.bracketed(), self.port)
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.https { "https" } else { "http" }, self.authority())
    }
}

impl Url {
    /// Parses an absolute URL.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("invalid URL {:?}: {why}", shortened(text)));
        if text.len() > MAX_LENGTH {
            return wrong("too long");
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong("no scheme");
        };
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return wrong("unsupported protocol scheme"),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (user_info, host_port) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user.to_owned()), host),
            None => (None, authority),
        };
        let Some((host, port)) = split_host_port(host_port) else {
            return wrong("invalid host");
        };
        let port = port.unwrap_or(if https { 443 } else { 80 });
        Ok(Self { origin: Origin { https, host, port }, target: encoded(target), user_info })
    }

    /// Resolves what a `Location` or `Link` header says.
    pub(crate) fn join(&self, reference: &str) -> Result<Self, String> {
        if reference.len() > MAX_LENGTH {
            return Err(format!("invalid URL {:?}: too long", shortened(reference)));
        }
        let scheme_ends = reference.find(':').unwrap_or(usize::MAX);
        if scheme_ends < reference.find(['/', '?', '#']).unwrap_or(usize::MAX) {
            return Self::parse(reference);
        }
        if reference.starts_with("//") {
            return Self::parse(&format!("{}:{reference}", if self.origin.https { "https" } else { "http" }));
        }
        let (path, _) = split_query(&self.target);
        let target = if reference.starts_with('/') {
            reference.to_owned()
        } else if reference.is_empty() || reference.starts_with(['?', '#']) {
            format!("{path}{reference}")
        } else {
            format!("{}/{reference}", path.rsplit_once('/').map_or("", |(directory, _)| directory))
        };
        Ok(Self { origin: self.origin.clone(), target: encoded(&target), user_info: None })
    }

    /// The same place with this path and query.
    pub(crate) fn with_target(&self, target: &str) -> Self {
        Self { origin: self.origin.clone(), target: encoded(target), user_info: None }
    }

    /// Adds a parameter to the query.
    pub(crate) fn push_parameter(&mut self, name: &str, value: &str) {
        self.target.push(if self.target.contains('?') { '&' } else { '?' });
        self.target.push_str(name);
        self.target.push('=');
        self.target.extend(utf8_percent_encode(value, FORM));
    }
}

/// What `application/x-www-form-urlencoded` and query values leave as it is.
pub(crate) const FORM: &AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Without the query, which may hold a signature.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, shortened(split_query(&self.target).0))
    }
}

/// Splits `host[:port]`, `[v6]:port` included.
pub(crate) fn split_host_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        match rest {
            "" => (host, None),
            rest => (host, Some(rest.strip_prefix(':')?)),
        }
    } else {
        let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
        let ordinary = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        if host.is_empty() || host.len() > 255 || !host.bytes().all(ordinary) {
            return None;
        }
        (host, port)
    };
    let port = match port {
        None | Some("") => None,
        Some(digits) => Some(digits.parse::<u16>().ok().filter(|&port| port != 0)?),
    };
    Some((host.to_ascii_lowercase(), port))
}

fn split_query(target: &str) -> (&str, Option<&str>) {
    target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)))
}

/// Drops the fragment and dot segments, encodes what may not stand in a URI, and begins with a slash.
fn encoded(target: &str) -> String {
    let target = target.split('#').next().unwrap_or_default();
    let (path, query) = split_query(target);
    let mut segments = Vec::new();
    let mut parts = path.split('/').skip(usize::from(path.starts_with('/'))).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    segments.pop();
                }
                if last {
                    segments.push("");
                }
            }
            part => segments.push(part),
        }
    }
    let mut text = format!("/{}", segments.join("/"));
    if let Some(query) = query {
        text.push('?');
        text.push_str(query);
    }
    utf8_percent_encode(&text, TOLERATED).to_string()
}

/// A hostile server's text, as far as anybody will read it.
pub(crate) fn shortened(text: &str) -> &str {
    const LONGEST: usize = 300;
    text.char_indices().nth(LONGEST).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::Url;

    fn shown(url: &Url) -> String {
        format!("{}{}", url.origin, url.target)
    }

    #[test]
    fn parses() {
        for (text, expected) in [
            ("https://Reg.example", "https://reg.example/"),
            ("http://reg:80/v2/", "http://reg/v2/"),
            ("https://u:p@reg:5000?a=b#c", "https://reg:5000/?a=b"),
            ("https://[::1]:5000/x y", "https://[::1]:5000/x%20y"),
            ("http://h/a/../b/./c", "http://h/b/c"),
        ] {
            assert_eq!(shown(&Url::parse(text).unwrap()), expected, "{text}");
        }
        for bad in ["", "x", "ftp://h/", "http://", "http://a b/", "http://h:0/", "http://h:x/", "http://[x]/", "//h/"]
        {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn joins() {
        let base = Url::parse("https://reg:5000/v2/a/uploads/?x=1").unwrap();
        for (reference, expected) in [
            ("/v2/b", "https://reg:5000/v2/b"),
            ("id?state=1", "https://reg:5000/v2/a/uploads/id?state=1"),
            ("?y=2", "https://reg:5000/v2/a/uploads/?y=2"),
            ("//cdn/z", "https://cdn/z"),
            ("http://cdn/z:1", "http://cdn/z:1"),
            ("/a:b", "https://reg:5000/a:b"),
            ("../../..", "https://reg:5000/"),
            ("../../../../../etc", "https://reg:5000/etc"),
        ] {
            assert_eq!(shown(&base.join(reference).unwrap()), expected, "{reference}");
        }
        for bad in ["file:///etc/passwd", "javascript:x", "https://"] {
            assert!(base.join(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shows_no_secrets() {
        let mut url = Url::parse("https://u:p@h/x").unwrap();
        url.push_parameter("q", "a b&c/ü");
        assert_eq!(url.target, "/x?q=a%20b%26c%2F%C3%BC");
        assert_eq!(url.to_string(), "https://h/x");
    }
}
