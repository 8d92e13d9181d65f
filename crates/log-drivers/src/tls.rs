//! TLS to receivers.

use gantry_tls_trust::{Believer, Gullible, system};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A TLS connection.
pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// Whom to trust and who to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TlsOptions {
    /// Trust what this CA signed, instead of the host's.
    pub(crate) ca: Option<PathBuf>,
    /// Our certificate.
    pub(crate) certificate: Option<PathBuf>,
    /// Its key.
    pub(crate) key: Option<PathBuf>,
    /// Do not verify the receiver.
    pub(crate) skip_verify: bool,
    /// The name in the receiver's certificate, if it is not its host's.
    pub(crate) server_name: Option<String>,
}

/// Shakes hands over a connection to `host:port`.
pub(crate) fn connect(mut socket: TcpStream, host: &str, options: &TlsOptions) -> io::Result<TlsStream> {
    let name = options.server_name.as_deref().unwrap_or_else(|| host_name(host));
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let config = config(options).map_err(|e| io::Error::other(format!("tls: {e}")))?;
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).map_err(|e| io::Error::new(e.kind(), format!("tls: {e}")))?;
    }
    Ok(StreamOwned::new(connection, socket))
}

fn host_name(host: &str) -> &str {
    let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn config(options: &TlsOptions) -> io::Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous();
    let builder = if options.skip_verify {
        builder.with_custom_certificate_verifier(Arc::new(Gullible(provider)))
    } else {
        let believed = options.ca.as_deref().map_or_else(|| Ok(system()), certificates)?;
        builder.with_custom_certificate_verifier(Arc::new(Believer::new(believed, provider)))
    };
    match (&options.certificate, &options.key) {
        (Some(certificate), Some(key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable(key, &e))?;
            builder.with_client_auth_cert(certificates(certificate)?, key).map_err(io::Error::other)
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_file_iter(path).map_err(|e| unreadable(path, &e))?;
    all.collect::<Result<_, _>>().map_err(|e| unreadable(path, &e))
}

fn unreadable(path: &Path, e: &rustls::pki_types::pem::Error) -> io::Error {
    io::Error::other(format!("{}: {e}", path.display()))
}
