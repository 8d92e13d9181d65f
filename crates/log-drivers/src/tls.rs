//! TLS to receivers.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A TLS connection.
pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// Where distributions keep the certificates that everybody trusts.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

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
        .map_err(io::Error::other)?;
    let builder = if options.skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        builder.with_root_certificates(roots(options.ca.as_deref())?)
    };
    match (&options.certificate, &options.key) {
        (Some(certificate), Some(key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable(key, &e))?;
            builder.with_client_auth_cert(certificates(certificate)?, key).map_err(io::Error::other)
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

fn roots(ca: Option<&Path>) -> io::Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    let bundle = || BUNDLES.iter().map(Path::new).find(|path| path.exists());
    if let Some(path) = ca.or_else(bundle) {
        store.add_parsable_certificates(certificates(path)?);
    }
    Ok(store)
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_file_iter(path).map_err(|e| unreadable(path, &e))?;
    all.collect::<Result<_, _>>().map_err(|e| unreadable(path, &e))
}

fn unreadable(path: &Path, e: &rustls::pki_types::pem::Error) -> io::Error {
    io::Error::other(format!("{}: {e}", path.display()))
}

/// Believes every certificate: the option's name says so.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
