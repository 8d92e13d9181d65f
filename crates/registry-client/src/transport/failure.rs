//! Why there was no answer, in the words that Docker's users know (Go's `net/http`).

use std::io;

/// A request without an answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The name has no address.
    #[error("dial tcp: lookup {0}: no such host")]
    Resolve(String),
    /// Nobody took the connection.
    #[error("dial tcp {address}: connect: {why}")]
    Connect {
        /// Who was called.
        address: String,
        /// What the kernel said, as `strerror` words it.
        why: String,
    },
    /// Nobody answered the call in time.
    #[error("dial tcp {0}: i/o timeout")]
    ConnectTimeout(String),
    /// The proxy did not connect us.
    #[error("proxyconnect tcp: {0}")]
    Proxy(String),
    /// The other side speaks HTTP without TLS.
    #[error("http: server gave HTTP response to HTTPS client")]
    NotTls,
    /// The other side's certificate is not believed.
    #[error("x509: {0}")]
    Certificate(String),
    /// TLS did not come to terms.
    #[error("tls: {0}")]
    Tls(String),
    /// The other side gave up on TLS.
    #[error("remote error: tls: {0}")]
    TlsAlert(String),
    /// The certificates for this registry cannot be used.
    #[error("{0}")]
    CertsDir(String),
    /// The request was sent, and nothing came back in time.
    #[error("net/http: timeout awaiting response headers")]
    HeaderTimeout,
    /// The connection ended in the middle.
    #[error("{0}")]
    Lost(String),
    /// What came back is not HTTP, or too much of it.
    #[error("net/http: HTTP/1.x transport connection broken: {0}")]
    Malformed(String),
    /// What was to be sent could not be read.
    #[error("{0}")]
    Source(String),
}

impl Failure {
    /// Whether another way of calling the same host (plain HTTP) may be tried.
    pub(crate) fn before_any_answer(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. }
                | Self::ConnectTimeout(_)
                | Self::NotTls
                | Self::Certificate(_)
                | Self::Tls(_)
                | Self::TlsAlert(_)
        )
    }

    /// Whether a connection that worked broke.
    pub(crate) fn is_loss(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::HeaderTimeout)
    }

    /// Whether the same request may succeed a little later.
    pub(crate) fn is_transient(&self) -> bool {
        self.is_loss()
            || matches!(self, Self::Resolve(_) | Self::Connect { .. } | Self::ConnectTimeout(_) | Self::Proxy(_))
    }

    pub(crate) fn connect(address: String, e: &io::Error) -> Self {
        Self::Connect { address, why: go_words(e) }
    }

    /// What TLS says besides certificates. The other side's view of ours comes with the first answer only.
    pub(crate) fn tls(e: &rustls::Error) -> Self {
        match e {
            rustls::Error::AlertReceived(alert) => Self::TlsAlert(spaced(&format!("{alert:?}"))),
            rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
                Self::Tls("first record does not look like a TLS handshake".to_owned())
            }
            e => Self::Tls(e.to_string()),
        }
    }

    /// Reads what hyper made of it.
    pub(crate) fn from_hyper(e: &hyper::Error) -> Self {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(e);
        while let Some(error) = cause {
            if let Some(io) = error.downcast_ref::<io::Error>() {
                if let Some(tls) = io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                    return Self::tls(tls);
                }
                return match io.kind() {
                    io::ErrorKind::UnexpectedEof => Self::Lost("unexpected EOF".to_owned()),
                    _ => Self::Lost(go_words(io)),
                };
            }
            if let Some(source) = error.downcast_ref::<SourceFailed>() {
                return Self::Source(source.0.to_string());
            }
            cause = error.source();
        }
        if e.is_incomplete_message() || e.is_closed() || e.is_canceled() {
            return Self::Lost("unexpected EOF".to_owned());
        }
        // hyper hides that a body ended too early in a kind without a door.
        let text = std::error::Error::source(e).map_or_else(|| e.to_string(), ToString::to_string);
        if e.is_parse() || e.is_parse_too_large() { Self::Malformed(text) } else { Self::Lost(text) }
    }
}

/// Reading what was to be sent failed; carried through hyper to be told from a broken connection.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SourceFailed(#[from] pub(crate) io::Error);

/// `CertificateRequired` is `certificate required`.
fn spaced(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

/// `Connection refused (os error 111)` is `connection refused` in Go.
fn go_words(e: &io::Error) -> String {
    let text = e.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect()
}
