//! Where a plugin is: the URL of a `.spec` or `.json` file, or a socket.

use crate::tls::TlsOptions;
use std::path::PathBuf;

/// Where to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// `host:port`, with TLS or without.
    Tcp { authority: String, tls: Option<TlsOptions> },
}

impl Address {
    /// Reads a URL; `tls` is used if it says `https`.
    pub(crate) fn parse(text: &str, tls: TlsOptions) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("unknown protocol")?;
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Unix(rest.into())),
            "tcp" | "http" | "https" => {
                let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
                let https = scheme == "https";
                let with_port = has_port(authority);
                if authority.is_empty() || authority.contains('@') || !with_port && scheme == "tcp" {
                    return Err(format!("invalid address: {text:?}"));
                }
                let port = if https { 443 } else { 80 };
                let authority = if with_port { authority.to_owned() } else { format!("{authority}:{port}") };
                Ok(Self::Tcp { authority, tls: https.then_some(tls) })
            }
            _ => Err(format!("unknown protocol: {text:?}")),
        }
    }

    /// The value of the `Host` header. A path is none, and some servers refuse what is none.
    pub(crate) fn host(&self) -> &str {
        match self {
            Self::Unix(_) => "localhost",
            Self::Tcp { authority, .. } => authority,
        }
    }

    /// A method's URL as Go writes it in errors.
    pub(crate) fn url(&self, method: &str) -> String {
        match self {
            Self::Unix(path) => {
                let path = path.to_string_lossy();
                let host = percent_encoding::utf8_percent_encode(&path, PATH);
                format!("http://{host}/{method}")
            }
            Self::Tcp { authority, tls } => {
                format!("{}://{authority}/{method}", if tls.is_some() { "https" } else { "http" })
            }
        }
    }
}

/// What Go escapes in a host.
const PATH: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b' ').add(b'/').add(b'%').add(b'?').add(b'#');

fn has_port(authority: &str) -> bool {
    authority.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, String> {
        Address::parse(text, TlsOptions::default())
    }

    #[test]
    fn forms() {
        assert_eq!(parse("unix:///run/x.sock").unwrap(), Address::Unix("/run/x.sock".into()));
        let tcp = |authority: &str, https: bool| Address::Tcp {
            authority: authority.to_owned(),
            tls: https.then(TlsOptions::default),
        };
        assert_eq!(parse("tcp://localhost:8080").unwrap(), tcp("localhost:8080", false));
        assert_eq!(parse("http://h/").unwrap(), tcp("h:80", false));
        assert_eq!(parse("https://h:1/x").unwrap(), tcp("h:1", true));
        for bad in ["", "/run/x.sock", "unix://relative", "tcp://nowhere", "ftp://h:1", "http://u@h:1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn urls_look_like_go_s() {
        let url = parse("unix:///run/docker/plugins/x.sock").unwrap().url("Plugin.Activate");
        assert_eq!(url, "http://%2Frun%2Fdocker%2Fplugins%2Fx.sock/Plugin.Activate");
    }
}
