//! Certificates, `certs.d`, and proxies. The servers are reached by names through a proxy: on loopback nobody is
//! verified.

mod support;

use gantry_model::Reference;
use gantry_registry_client::{Access, Client, Config, Credentials, Repository};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::{fs, net::SocketAddr, path::Path, sync::Arc};
use support::{Server, digest, reply, tunnel};
use tokio_rustls::TlsAcceptor;

const CONNECTED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

struct Pair {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

fn signed(by: &CertifiedIssuer<'static, KeyPair>, name: &str) -> Pair {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, by).unwrap();
    Pair { certificate: certificate.der().clone(), pem: certificate.pem(), key }
}

/// What `openssl req -x509` makes: an authority and a server in one.
fn self_signed(name: &str, until: i32) -> Pair {
    let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.not_before = date_time_ymd(2000, 1, 1);
    parameters.not_after = date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    Pair { certificate: certificate.der().clone(), pem: certificate.pem(), key }
}

async fn serve(pair: &Pair, clients: Option<Arc<dyn ClientCertVerifier>>) -> Server {
    let builder = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let key = PrivateKeyDer::Pkcs8(pair.key.serialize_der().into());
    let config = builder.with_single_cert(vec![pair.certificate.clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Server::over(
        move |tcp| {
            let acceptor = acceptor.clone();
            async move { acceptor.accept(tcp).await.ok() }
        },
        |_| reply(200, &[("content-length", "5")], "hello"),
    )
    .await
}

fn repository(proxy: SocketAddr, certs: &Path, insecure: &[&str]) -> Repository {
    let config = Config {
        https_proxy: format!("http://user:pass@{proxy}"),
        certs_dirs: vec![certs.to_owned()],
        insecure: insecure.iter().map(|&s| s.to_owned()).collect(),
        ..Config::default()
    };
    let reference = Reference::parse("reg.test:5000/a/b").unwrap();
    Client::new(config).repository(&reference, &Credentials::default(), Access::Pull).unwrap()
}

/// Asks once; the error as text.
async fn ask(repository: &Repository) -> Result<(), String> {
    repository.blob(&digest(b""), 0, None).await.map(drop).map_err(|e| e.to_string())
}

fn certs(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let host = directory.path().join("reg.test:5000");
    fs::create_dir(&host).unwrap();
    for (name, content) in files {
        fs::write(host.join(name), content).unwrap();
    }
    directory
}

#[tokio::test]
async fn private_authorities() {
    let authority = authority();
    let server = serve(&signed(&authority, "reg.test"), None).await;
    let (proxy, heads, _end) = tunnel(server.address, CONNECTED).await;
    let none = certs(&[]);
    let error = ask(&repository(proxy, none.path(), &[])).await.unwrap_err();
    assert_eq!(error, r#"Get "https://reg.test:5000/v2/": x509: certificate signed by unknown authority"#);
    let ours = certs(&[("ca.crt", &authority.pem())]);
    ask(&repository(proxy, ours.path(), &[])).await.unwrap();
    ask(&repository(proxy, none.path(), &["reg.test:5000"])).await.unwrap();
    let head = heads.lock().unwrap()[0].to_ascii_lowercase();
    assert!(head.starts_with("connect reg.test:5000 http/1.1\r\n"), "{head}");
    assert!(head.contains("proxy-authorization: basic dxnlcjpwyxnz"), "{head}");
    assert!(server.seen().iter().all(|seen| seen.headers.get("proxy-authorization").is_none()));
}

#[tokio::test]
async fn certificates_are_read_anew_when_they_change() {
    let authority = authority();
    let server = serve(&signed(&authority, "reg.test"), None).await;
    let (proxy, _, _end) = tunnel(server.address, CONNECTED).await;
    let directory = certs(&[]);
    let repository = repository(proxy, directory.path(), &[]);
    assert!(ask(&repository).await.is_err());
    fs::write(directory.path().join("reg.test:5000/ca.crt"), authority.pem()).unwrap();
    ask(&repository).await.unwrap();
}

#[tokio::test]
async fn the_name_has_to_be_right() {
    let authority = authority();
    let ours = certs(&[("ca.crt", &authority.pem())]);
    let server = serve(&signed(&authority, "other.test"), None).await;
    let (proxy, _, _end) = tunnel(server.address, CONNECTED).await;
    let error = ask(&repository(proxy, ours.path(), &[])).await.unwrap_err();
    assert!(error.ends_with("x509: certificate is valid for other.test, not reg.test"), "{error}");
}

#[tokio::test]
async fn a_self_signed_server_is_its_own_authority() {
    let pair = self_signed("reg.test", 2100);
    let server = serve(&pair, None).await;
    let (proxy, _, _end) = tunnel(server.address, CONNECTED).await;
    ask(&repository(proxy, certs(&[("ca.crt", &pair.pem)]).path(), &[])).await.unwrap();
    let another = certs(&[("ca.crt", &self_signed("reg.test", 2100).pem)]);
    let error = ask(&repository(proxy, another.path(), &[])).await.unwrap_err();
    assert!(error.ends_with("certificate signed by unknown authority"), "{error}");

    let old = self_signed("reg.test", 2001);
    let server = serve(&old, None).await;
    let (proxy, _, _end) = tunnel(server.address, CONNECTED).await;
    let error = ask(&repository(proxy, certs(&[("ca.crt", &old.pem)]).path(), &[])).await.unwrap_err();
    assert!(error.contains("x509: certificate has expired or is not yet valid: current time "), "{error}");
    assert!(error.ends_with(" is after 2001-01-01T00:00:00Z"), "{error}");

    let other = self_signed("other.test", 2100);
    let server = serve(&other, None).await;
    let (proxy, _, _end) = tunnel(server.address, CONNECTED).await;
    let error = ask(&repository(proxy, certs(&[("ca.crt", &other.pem)]).path(), &[])).await.unwrap_err();
    assert!(error.ends_with("x509: certificate is valid for other.test, not reg.test"), "{error}");
}

#[tokio::test]
async fn client_certificates() {
    let authority = authority();
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
    let server = serve(&signed(&authority, "reg.test"), Some(verifier)).await;
    let (proxy, _, _end) = tunnel(server.address, CONNECTED).await;
    let (ca, client) = (authority.pem(), signed(&authority, "me"));
    let key = client.key.serialize_pem();
    ask(&repository(proxy, certs(&[("ca.crt", &ca), ("me.cert", &client.pem), ("me.key", &key)]).path(), &[]))
        .await
        .unwrap();
    let error = ask(&repository(proxy, certs(&[("ca.crt", &ca)]).path(), &[])).await.unwrap_err();
    assert!(error.ends_with("remote error: tls: certificate required"), "{error}");
    let error = ask(&repository(proxy, certs(&[("me.cert", &client.pem)]).path(), &[])).await.unwrap_err();
    let expected = "missing key me.key for client certificate me.cert. CA certificates must use the extension .crt";
    assert!(error.ends_with(expected), "{error}");
    let error = ask(&repository(proxy, certs(&[("me.key", &key)]).path(), &[])).await.unwrap_err();
    assert!(error.ends_with("missing client certificate me.cert for key me.key"), "{error}");
}

#[tokio::test]
async fn servers_without_tls() {
    let none = certs(&[]);
    let server = Server::raw(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()).await;
    let (proxy, _, _end) = tunnel(server.address, CONNECTED).await;
    let error = ask(&repository(proxy, none.path(), &[])).await.unwrap_err();
    assert!(error.ends_with("http: server gave HTTP response to HTTPS client"), "{error}");
    let server = Server::raw(b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec()).await;
    let (proxy, _, _end) = tunnel(server.address, CONNECTED).await;
    let error = ask(&repository(proxy, none.path(), &[])).await.unwrap_err();
    assert!(error.ends_with("tls: first record does not look like a TLS handshake"), "{error}");
}

#[tokio::test]
async fn proxies_that_refuse() {
    let server = Server::new(|_| reply(200, &[], "")).await;
    for (answer, words) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "proxyconnect tcp: Proxy Authentication Required"),
        ("nonsense\r\n\r\n", "proxyconnect tcp: net/http: HTTP/1.x transport connection broken"),
    ] {
        let (proxy, _, _end) = tunnel(server.address, answer).await;
        let error = ask(&repository(proxy, Path::new("/nonexistent"), &[])).await.unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    let nobody = repository("127.0.0.1:1".parse().unwrap(), Path::new("/nonexistent"), &[]);
    let error = ask(&nobody).await.unwrap_err();
    assert!(error.ends_with("proxyconnect tcp: dial tcp 127.0.0.1:1: connect: connection refused"), "{error}");
}

#[tokio::test]
async fn plain_http_goes_through_a_proxy_in_absolute_form() {
    let proxy = Server::new(|_| reply(200, &[], "hello")).await;
    let config = Config {
        http_proxy: format!("http://user:pass@{}", proxy.address),
        // The attempt with TLS ends at a closed door.
        https_proxy: "http://127.0.0.1:1".to_owned(),
        insecure: vec!["reg.test:5000".to_owned()],
        ..Config::default()
    };
    let reference = Reference::parse("reg.test:5000/a/b").unwrap();
    let client = Client::new(config);
    let repository = client.repository(&reference, &Credentials::default(), Access::Pull).unwrap();
    let result = ask(&repository).await;
    assert!(result.is_err(), "a proxy out of order is not a registry without TLS");
    let foreign = repository.foreign_blob("http://reg.test:5000/x", 0, None).await.unwrap();
    drop(foreign);
    let seen = proxy.seen().pop().unwrap();
    assert_eq!(seen.target, "http://reg.test:5000/x");
    assert_eq!(seen.header(http::header::PROXY_AUTHORIZATION), "Basic dXNlcjpwYXNz");
    assert_eq!(seen.header(http::header::HOST), "reg.test:5000");
}
