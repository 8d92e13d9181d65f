//! Certificates on disk: `certs.d`.

use super::failure::Failure;
use gantry_tls_trust::{files_in, parse, read};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

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

fn read_or_say(file: &Path) -> Result<Vec<u8>, Failure> {
    read(file).map_err(|e| Failure::CertsDir(format!("{}: {e}", file.display())))
}
