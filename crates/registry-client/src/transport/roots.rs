//! Certificates on disk: the system's authorities, and `certs.d`.

use super::failure::Failure;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    ffi::OsStr,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Where distributions keep the bundle of authorities; the first that is there counts, as in Go.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Where they keep them one a file; looked at if there is no bundle.
const DIRECTORIES: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

/// A bundle of all public authorities has a quarter of this.
const MAX_FILE: u64 = 4 << 20;
const MAX_FILES: usize = 1024;

/// The system's authorities, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name instead.
pub(super) fn system() -> Vec<CertificateDer<'static>> {
    let mut certificates = Vec::new();
    let file = std::env::var_os("SSL_CERT_FILE").filter(|f| !f.is_empty());
    let files = file.map_or_else(|| BUNDLES.map(PathBuf::from).to_vec(), |file| vec![file.into()]);
    if let Some(pem) = files.iter().find_map(|file| read(file).ok()) {
        certificates.extend(parse(&pem));
    }
    let directories = std::env::var_os("SSL_CERT_DIR").filter(|d| !d.is_empty());
    if !certificates.is_empty() && directories.is_none() {
        return certificates;
    }
    let directories = directories.map_or_else(
        || DIRECTORIES.map(PathBuf::from).to_vec(),
        |directories| std::env::split_paths(&directories).collect(),
    );
    for file in directories.iter().flat_map(|directory| files_in(directory).unwrap_or_default()) {
        certificates.extend(read(&file).map(|pem| parse(&pem)).unwrap_or_default());
    }
    certificates
}

/// What a registry's own directories hold.
#[derive(Default)]
pub(super) struct HostCertificates {
    /// `*.crt`
    pub(super) authorities: Vec<CertificateDer<'static>>,
    /// The first pair of `*.cert` and `*.key`.
    pub(super) client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

/// Reads the directories of a registry. A directory that is not there is an empty one.
pub(super) fn of_host(directories: &[PathBuf]) -> Result<HostCertificates, Failure> {
    let mut found = HostCertificates::default();
    for file in directories.iter().flat_map(|directory| files_in(directory).unwrap_or_default()) {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match file.extension().and_then(OsStr::to_str) {
            Some("crt") => found.authorities.extend(parse(&read_or_say(&file)?)),
            Some("cert") => {
                let key = file.with_extension("key");
                if !key.exists() {
                    return Err(Failure::CertsDir(format!(
                        "missing key {} for client certificate {name}. CA certificates must use the extension .crt",
                        key.file_name().unwrap_or_default().to_string_lossy()
                    )));
                }
                if found.client.is_none() {
                    let private = PrivateKeyDer::from_pem_slice(&read_or_say(&key)?)
                        .map_err(|e| Failure::CertsDir(format!("{}: {e}", key.display())))?;
                    found.client = Some((parse(&read_or_say(&file)?), private));
                }
            }
            Some("key") if !file.with_extension("cert").exists() => {
                return Err(Failure::CertsDir(format!(
                    "missing client certificate {} for key {name}",
                    file.with_extension("cert").file_name().unwrap_or_default().to_string_lossy()
                )));
            }
            _ => {}
        }
    }
    Ok(found)
}

/// What has to be the same for the certificates to be the same: names, sizes, times.
pub(super) fn fingerprint(directories: &[PathBuf]) -> Fingerprint {
    let files = directories.iter().flat_map(|directory| files_in(directory).unwrap_or_default());
    let seen = |file: PathBuf| {
        let metadata = fs::metadata(&file).ok();
        let (size, time) = metadata.map_or((0, None), |m| (m.len(), m.modified().ok()));
        (file, size, time)
    };
    files.map(seen).collect()
}

/// Files with their sizes and times.
pub(super) type Fingerprint = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// The files of a directory in the order of their names, so that "the first" means something.
fn files_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.take(MAX_FILES);
    let mut files: Vec<_> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(file)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read_or_say(file: &Path) -> Result<Vec<u8>, Failure> {
    read(file).map_err(|e| Failure::CertsDir(format!("{}: {e}", file.display())))
}

/// The certificates of a PEM file; one that is damaged does not take the others along.
fn parse(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()
}
