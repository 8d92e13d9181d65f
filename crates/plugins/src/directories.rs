//! Finding plugins on disk.

use crate::address::Address;
use crate::error::{PluginError, Result};
use crate::tls::TlsOptions;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// A specification is a line or a few.
const MAX_FILE: u64 = 64 << 10;
/// Plugins that are looked at in one scan.
const MAX_NAMES: usize = 256;

/// Where plugins are looked for. The first that has a name decides.
#[derive(Debug, Clone)]
pub struct Directories {
    /// Of sockets.
    pub sockets: PathBuf,
    /// Of `.spec` and `.json` files.
    pub specs: Vec<PathBuf>,
}

impl Default for Directories {
    /// Docker's, where plugins put themselves.
    fn default() -> Self {
        Self {
            sockets: "/run/docker/plugins".into(),
            specs: vec!["/etc/docker/plugins".into(), "/usr/lib/docker/plugins".into()],
        }
    }
}

impl Directories {
    /// Where the plugin called `name` is; blocks on a few looks at the disk.
    pub(crate) fn find(&self, name: &str) -> Result<Address> {
        // It becomes part of a path, and comes from a client.
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            return Err(PluginError::NotFound(name.to_owned()));
        }
        let is_socket = |path: &PathBuf| fs::metadata(path).is_ok_and(|m| m.file_type().is_socket());
        if let Some(path) = places(&self.sockets, name, "sock").into_iter().find(is_socket) {
            return Ok(Address::Unix(path));
        }
        for directory in &self.specs {
            for extension in ["spec", "json"] {
                if let Some(path) = places(directory, name, extension).into_iter().find(|path| path.is_file()) {
                    let specification = |reason| PluginError::Specification { name: name.to_owned(), reason };
                    return read(&path, extension).map_err(specification);
                }
            }
        }
        Err(PluginError::NotFound(name.to_owned()))
    }

    /// Every name there is, with one level of subdirectories.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names = BTreeSet::new();
        collect(&self.sockets, &["sock"], &mut names);
        for directory in &self.specs {
            collect(directory, &["spec", "json"], &mut names);
        }
        names.into_iter().take(MAX_NAMES).collect()
    }
}

/// `NAME.ext` and `NAME/NAME.ext`.
fn places(directory: &Path, name: &str, extension: &str) -> [PathBuf; 2] {
    let file = format!("{name}.{extension}");
    [directory.join(&file), directory.join(name).join(&file)]
}

fn collect(directory: &Path, extensions: &[&str], names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        let is = |path: &Path| path.extension().is_some_and(|e| extensions.iter().any(|known| e == *known));
        if is(&path) || extensions.iter().any(|e| path.join(format!("{stem}.{e}")).exists()) {
            names.insert(stem.to_owned());
        }
    }
}

fn read(path: &Path, extension: &str) -> Result<Address, String> {
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE).read_to_string(&mut text))
        .map_err(|e| format!("{}: {e}", path.display()))?;
    if extension == "spec" {
        return Address::parse(text.trim(), TlsOptions::default());
    }
    let file: JsonFile = serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut tls = file.tls.unwrap_or_default();
    // As Docker: who names no authority checks none.
    tls.insecure |= tls.ca.as_os_str().is_empty();
    Address::parse(file.address.trim(), tls)
}

/// The `.json` form.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct JsonFile {
    #[serde(rename = "Addr", alias = "addr")]
    address: String,
    #[serde(rename = "TLSConfig", alias = "tlsConfig")]
    tls: Option<TlsOptions>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_come_first_and_names_are_no_paths() {
        let dir = tempfile::tempdir().unwrap();
        let directories = Directories {
            sockets: dir.path().join("run"),
            specs: vec![dir.path().join("etc"), dir.path().join("lib")],
        };
        for name in ["run/sub", "etc", "lib"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let _one = std::os::unix::net::UnixListener::bind(dir.path().join("run/one.sock")).unwrap();
        let _two = std::os::unix::net::UnixListener::bind(dir.path().join("run/sub/sub.sock")).unwrap();
        fs::write(dir.path().join("run/file.sock"), "").unwrap();
        fs::write(dir.path().join("etc/one.spec"), "tcp://h:1").unwrap();
        fs::write(dir.path().join("etc/three.spec"), "tcp://h:1\n").unwrap();
        fs::write(dir.path().join("lib/three.json"), "{}").unwrap();
        fs::write(
            dir.path().join("lib/four.json"),
            r#"{"Name":"x","Addr":"https://h:2","TLSConfig":{"InsecureSkipVerify":false,"CAFile":"/ca"}}"#,
        )
        .unwrap();
        fs::write(dir.path().join("lib/bad.json"), "[").unwrap();
        assert!(matches!(directories.find("one").unwrap(), Address::Unix(_)));
        assert!(matches!(directories.find("sub").unwrap(), Address::Unix(_)));
        assert!(matches!(directories.find("three").unwrap(), Address::Tcp { tls: None, .. }));
        let Address::Tcp { tls: Some(tls), .. } = directories.find("four").unwrap() else { panic!("no TLS") };
        assert!(!tls.insecure && tls.ca == Path::new("/ca"));
        assert!(matches!(directories.find("bad"), Err(PluginError::Specification { .. })));
        for missing in ["none", "file", "../run/one", "", ".", "sub/sub"] {
            assert_eq!(directories.find(missing).unwrap_err().to_string(), format!("plugin {missing:?} not found"));
        }
        assert_eq!(directories.names(), ["bad", "file", "four", "one", "sub", "three"]);
    }
}
