//! Certificates on disk.

use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
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
pub fn system() -> Vec<CertificateDer<'static>> {
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

/// The files of a directory in the order of their names, so that "the first" means something.
pub fn files_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.take(MAX_FILES);
    let mut files: Vec<_> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

/// The bytes of a file of certificates; of one that is far too long, the beginning.
pub fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(file)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The certificates of a PEM file; one that is damaged does not take the others along.
pub fn parse(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()
}
