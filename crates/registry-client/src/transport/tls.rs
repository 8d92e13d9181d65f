//! TLS to a registry or a proxy.

use super::{failure::Failure, roots, url::Origin};
use gantry_tls_trust::{Believer, Gullible, system};
use rustls::{CertificateError, ClientConfig, crypto::CryptoProvider};
use rustls_pki_types::{CertificateDer, ServerName};
use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Go's default.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Hosts whose settings are remembered; a setting is cheap to make again.
const REMEMBERED: usize = 32;

/// `host:port`, and whether anybody is believed there.
type Key = (String, bool);

/// Settings by host. They hold the sessions that can be resumed, so they live longer than a connection.
pub(super) struct Tls {
    certs_dirs: Vec<PathBuf>,
    provider: Arc<CryptoProvider>,
    /// For all hosts without authorities of their own: the public ones take 200 kB.
    public: OnceLock<Arc<Believer>>,
    configs: Mutex<HashMap<Key, (roots::Fingerprint, Arc<ClientConfig>)>>,
}

impl Tls {
    pub(super) fn new(certs_dirs: Vec<PathBuf>) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Self { certs_dirs, provider, public: OnceLock::new(), configs: Mutex::default() }
    }

    /// Shakes hands over `io` with `origin`, whose certificate has to be good unless `insecure`.
    pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        self: &Arc<Self>,
        io: S,
        origin: &Origin,
        insecure: bool,
    ) -> Result<TlsStream<Sniffed<S>>, Failure> {
        let name = ServerName::try_from(origin.host.clone())
            .map_err(|_| Failure::Tls(format!("{:?} is not a host name", origin.host)))?;
        let (this, place) = (self.clone(), origin.clone());
        let config = tokio::task::spawn_blocking(move || this.config(&place, insecure))
            .await
            .map_err(|e| Failure::Tls(e.to_string()))??;
        let handshake = TlsConnector::from(config).connect(name, Sniffed { io, first: Vec::new() });
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake.into_fallible()).await {
            Err(_) => Err(Failure::Tls("handshake timeout".to_owned())),
            Ok(Err((_, sniffed))) if sniffed.first.starts_with(b"HTTP/") => Err(Failure::NotTls),
            Ok(Err((e, _))) => Err(explain(&e, origin)),
            Ok(Ok(stream)) => Ok(stream),
        }
    }

    /// The settings for a host, made anew when its certificates on disk have changed.
    fn config(&self, origin: &Origin, insecure: bool) -> Result<Arc<ClientConfig>, Failure> {
        let key = (origin.address(), insecure);
        let directories = self.directories(origin);
        let fingerprint = roots::fingerprint(&directories);
        let configs = || self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, config)) = configs().get(&key)
            && *known == fingerprint
        {
            return Ok(config.clone());
        }
        let config = Arc::new(self.make(&directories, insecure)?);
        let mut configs = configs();
        if configs.len() >= REMEMBERED {
            configs.clear();
        }
        configs.insert(key, (fingerprint, config.clone()));
        Ok(config)
    }

    /// `certs.d/host:port`; the port may be missing where it is the usual one.
    fn directories(&self, origin: &Origin) -> Vec<PathBuf> {
        let mut names = vec![origin.address()];
        if origin.port == 443 {
            names.push(origin.authority());
        }
        self.certs_dirs.iter().flat_map(|dir| names.iter().map(|name| dir.join(name))).collect()
    }

    fn make(&self, directories: &[PathBuf], insecure: bool) -> Result<ClientConfig, Failure> {
        let own = roots::of_host(directories)?;
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| Failure::Tls(e.to_string()))?
            .dangerous();
        let builder = if insecure {
            builder.with_custom_certificate_verifier(Arc::new(Gullible(self.provider.clone())))
        } else {
            builder.with_custom_certificate_verifier(self.believer(own.authorities))
        };
        let mut config = match own.client {
            Some((chain, key)) => {
                builder.with_client_auth_cert(chain, key).map_err(|e| Failure::CertsDir(e.to_string()))?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl Tls {
    /// Who believes the system's authorities and a host's own.
    fn believer(&self, mut own: Vec<CertificateDer<'static>>) -> Arc<Believer> {
        if own.is_empty() {
            let public = || Arc::new(Believer::new(system(), self.provider.clone()));
            return self.public.get_or_init(public).clone();
        }
        own.extend(system());
        Arc::new(Believer::new(own, self.provider.clone()))
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("certs_dirs", &self.certs_dirs).finish_non_exhaustive()
    }
}

/// Says what rustls means in the words of Go's `x509`, which people search for.
fn explain(e: &io::Error, origin: &Origin) -> Failure {
    let Some(error) = e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return match e.kind() {
            io::ErrorKind::UnexpectedEof => Failure::Tls("EOF during the handshake".to_owned()),
            _ => Failure::Tls(e.to_string()),
        };
    };
    let rustls::Error::InvalidCertificate(certificate) = error else {
        return Failure::tls(error);
    };
    let seconds = |time: &rustls_pki_types::UnixTime| {
        let time = i64::try_from(time.as_secs()).ok().and_then(|s| time::OffsetDateTime::from_unix_timestamp(s).ok());
        time.and_then(|t| t.format(&time::format_description::well_known::Rfc3339).ok()).unwrap_or_default()
    };
    Failure::Certificate(match certificate {
        CertificateError::UnknownIssuer => "certificate signed by unknown authority".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => format!(
            "certificate has expired or is not yet valid: current time {} is after {}",
            seconds(time),
            seconds(not_after)
        ),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "certificate has expired or is not yet valid: current time {} is before {}",
            seconds(time),
            seconds(not_before)
        ),
        CertificateError::NotValidForNameContext { presented, .. } => unfit_name(presented, &origin.host),
        other => other.to_string(),
    })
}

/// rustls shows names as `DnsName("x")` and addresses as `IpAddress(1.2.3.4)`.
fn unfit_name(presented: &[String], host: &str) -> String {
    let bare = |name: &String| {
        let inner = name.split_once('(').map_or(name.as_str(), |(_, rest)| rest.trim_end_matches(')'));
        inner.trim_matches('"').to_owned()
    };
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    let names: Vec<_> = presented.iter().filter(|n| is_address == n.starts_with("IpAddress")).map(bare).collect();
    match (names.is_empty(), is_address) {
        (true, true) => format!("cannot validate certificate for {host} because it doesn't contain any IP SANs"),
        (true, false) => format!("certificate is not valid for any names, but wanted to match {host}"),
        (false, _) => format!("certificate is valid for {}, not {host}", names.join(", ")),
    }
}

/// Remembers how the answer began, to tell a server without TLS from one with bad TLS.
#[derive(Debug)]
pub(super) struct Sniffed<S> {
    io: S,
    first: Vec<u8>,
}

const SNIFFED: usize = 5;

impl<S: AsyncRead + Unpin> AsyncRead for Sniffed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.io).poll_read(cx, buf);
        let wanted = SNIFFED - self.first.len();
        if wanted > 0 {
            let new = &buf.filled()[before..];
            self.first.extend_from_slice(&new[..new.len().min(wanted)]);
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Sniffed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
