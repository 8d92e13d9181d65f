//! TLS on TCP listeners, as `--tls` and `--tlsverify` ask for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::settings::Settings;

/// Where certificates lie and whether clients need one.
#[derive(Debug)]
pub(crate) struct TlsFiles {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
    /// Clients must show a certificate that the CA signed.
    pub verify: bool,
}

impl TlsFiles {
    /// `None` without TLS. As in dockerd, naming `tlsverify` switches TLS on whatever its value,
    /// and TLS verifies clients unless `tlsverify` is false explicitly.
    pub(crate) fn from_settings(settings: &Settings) -> Option<Self> {
        let by_environment = std::env::var_os("DOCKER_TLS_VERIFY").is_some_and(|value| !value.is_empty());
        if !(settings.tls.unwrap_or(false) || settings.tlsverify.is_some() || by_environment) {
            return None;
        }
        let home = certificate_home();
        let file = |chosen: &Option<PathBuf>, name: &str| chosen.clone().unwrap_or_else(|| home.join(name));
        Some(Self {
            ca: file(&settings.tlscacert, "ca.pem"),
            cert: file(&settings.tlscert, "cert.pem"),
            key: file(&settings.tlskey, "key.pem"),
            verify: settings.tlsverify.unwrap_or(true),
        })
    }

    /// Reads the files.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor> {
        let certificates = certificates(&self.cert)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .with_context(|| format!("could not load the TLS key {}", self.key.display()))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let builder = if self.verify {
            let mut roots = RootCertStore::empty();
            for certificate in self::certificates(&self.ca)? {
                roots.add(certificate).with_context(|| format!("the CA certificate {}", self.ca.display()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .with_context(|| format!("the CA certificate {}", self.ca.display()))?;
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder
            .with_single_cert(certificates, key)
            .with_context(|| format!("the certificate {} and its key", self.cert.display()))?;
        // Go clients offer h2 as well; connections are hijacked here, which only HTTP/1.1 can do.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let problem = || format!("could not load the TLS certificate {}", path.display());
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).with_context(problem)?.collect::<Result<_, _>>().with_context(problem)?;
    anyhow::ensure!(!found.is_empty(), "no certificate is in {}", path.display());
    Ok(found)
}

/// `DOCKER_CERT_PATH`, or the client's directory, which dockerd uses as well.
fn certificate_home() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("DOCKER_CERT_PATH")
        .or_else(|| variable("DOCKER_CONFIG"))
        .unwrap_or_else(|| variable("HOME").unwrap_or_else(|| PathBuf::from("/root")).join(".docker"))
}
