//! TLS to plugins elsewhere, by the files that a `.json` names.

use gantry_tls_trust::{Believer, Gullible, parse, read, system};
use rustls::{ClientConfig, crypto::aws_lc_rs};
use rustls_pki_types::{PrivateKeyDer, ServerName, pem::PemObject};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// `TLSConfig` of a plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct TlsOptions {
    #[serde(rename = "InsecureSkipVerify")]
    pub(crate) insecure: bool,
    #[serde(rename = "CAFile")]
    pub(crate) ca: PathBuf,
    #[serde(rename = "CertFile")]
    pub(crate) certificate: PathBuf,
    #[serde(rename = "KeyFile")]
    pub(crate) key: PathBuf,
}

/// Shakes hands with the plugin at `authority`.
pub(crate) async fn connect(
    tcp: TcpStream,
    authority: &str,
    options: TlsOptions,
) -> Result<TlsStream<TcpStream>, String> {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host.clone()).map_err(|_| format!("{host:?} is not a host name"))?;
    // Files, and perhaps those of all public authorities.
    let config = tokio::task::spawn_blocking(move || make(&options)).await.map_err(|e| e.to_string())??;
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(|e| e.to_string())
}

fn make(options: &TlsOptions) -> Result<ClientConfig, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous();
    let builder = if options.insecure {
        builder.with_custom_certificate_verifier(Arc::new(Gullible(provider)))
    } else {
        let named = !options.ca.as_os_str().is_empty();
        let authorities = if named { parse(&contents(&options.ca)?) } else { system() };
        builder.with_custom_certificate_verifier(Arc::new(Believer::new(authorities, provider)))
    };
    if options.certificate.as_os_str().is_empty() && options.key.as_os_str().is_empty() {
        return Ok(builder.with_no_client_auth());
    }
    let chain = parse(&contents(&options.certificate)?);
    let key = PrivateKeyDer::from_pem_slice(&contents(&options.key)?)
        .map_err(|e| format!("{}: {e}", options.key.display()))?;
    builder.with_client_auth_cert(chain, key).map_err(|e| e.to_string())
}

fn contents(path: &Path) -> Result<Vec<u8>, String> {
    read(path).map_err(|e| format!("{}: {e}", path.display()))
}
