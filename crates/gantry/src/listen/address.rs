//! The values of `-H`.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::personality::Personality;

/// Where to listen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A socket file.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
    /// Sockets that systemd opened: all of them, or the one with that number or name.
    Inherited(String),
}

impl Address {
    /// Reads `unix://`, `tcp://`, `fd://`, and `host:port` as TCP. Parts that are left out are
    /// dockerd's: port 2375, or 2376 with TLS, on the loopback interface only.
    pub(crate) fn parse(text: &str, tls: bool, personality: Personality) -> Result<Self> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        match scheme {
            "unix" if rest.is_empty() => Self::parse(personality.host(), tls, personality),
            "unix" => Ok(Self::Unix(PathBuf::from(rest))),
            "fd" => Ok(Self::Inherited(rest.to_owned())),
            "tcp" => Ok(Self::Tcp(tcp(rest, if tls { 2376 } else { 2375 })?)),
            _ => bail!("invalid bind address format: {text}"),
        }
    }
}

fn tcp(rest: &str, default_port: u16) -> Result<String> {
    if rest.contains('/') {
        bail!("invalid bind address (tcp://{rest}): should not contain a path element");
    }
    let (host, port) = match rest.rsplit_once(':') {
        // The colons of a bare IPv6 address in brackets are not the port's.
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (rest, ""),
    };
    let port = match port {
        "" => default_port,
        port => port.parse().map_err(|_| anyhow::anyhow!("invalid bind address (tcp://{rest}): invalid port"))?,
    };
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    Ok(format!("{host}:{port}"))
}

/// How a socket that somebody else opened is called in the log.
pub(super) fn of_unix(socket: &UnixListener) -> String {
    let path = socket.local_addr().ok().and_then(|at| at.as_pathname().map(|path| path.display().to_string()));
    path.unwrap_or_else(|| "an inherited socket".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address> {
        Address::parse(text, false, Personality::Dockerd)
    }

    #[test]
    fn reads_what_dockerd_reads() {
        let tcp = |text: &str| Address::Tcp(text.to_owned());
        assert_eq!(parse("unix:///run/x.sock").unwrap(), Address::Unix("/run/x.sock".into()));
        assert_eq!(parse("unix://").unwrap(), Address::Unix("/var/run/docker.sock".into()));
        assert_eq!(parse("fd://").unwrap(), Address::Inherited(String::new()));
        assert_eq!(parse("tcp://").unwrap(), tcp("127.0.0.1:2375"));
        assert_eq!(parse("tcp://:1234").unwrap(), tcp("127.0.0.1:1234"));
        assert_eq!(parse("0.0.0.0:2375").unwrap(), tcp("0.0.0.0:2375"));
        assert_eq!(parse("tcp://[::1]").unwrap(), tcp("[::1]:2375"));
        assert_eq!(parse("tcp://[::1]:5").unwrap(), tcp("[::1]:5"));
        assert_eq!(Address::parse("tcp://h", true, Personality::Gantry).unwrap(), tcp("h:2376"));
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["npipe:////./pipe/x", "tcp://h:70000", "tcp://h:1/v1", "/run/x.sock"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
