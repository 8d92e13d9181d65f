//! The `local` driver's names and options: `type`, `o` and `device`, as `mount -t … -o … device`.

use crate::error::{Result, VolumeError};
use crate::quota;
use gantry_model::names::is_restricted_name;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The driver of this crate. Others are plugins, of whose volumes only rows are kept here.
pub const VOLUME_DRIVER: &str = "local";

/// A mount that takes the place of a volume's directory as long as a container uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriverMount {
    /// `type=none,o=bind`: a directory of the host.
    Bind {
        /// The directory.
        path: PathBuf,
        /// `rbind`.
        recursive: bool,
        /// What else stands in `o`.
        options: Vec<String>,
    },
    /// A file system.
    Fs {
        /// `type`.
        kind: String,
        /// `device`.
        device: String,
        /// `o`, split at the commas.
        options: Vec<String>,
    },
}

impl DriverMount {
    /// Reads checked options; `None` when they ask for no mount.
    pub fn parse(options: &BTreeMap<String, String>) -> Option<Self> {
        let device = options.get("device").filter(|d| !d.is_empty())?;
        let words = options.get("o").map(String::as_str).unwrap_or_default();
        let mut words: Vec<String> = words.split(',').filter(|w| !w.is_empty()).map(str::to_owned).collect();
        let recursive = words.iter().any(|w| w == "rbind");
        if recursive || words.iter().any(|w| w == "bind") {
            words.retain(|w| w != "bind" && w != "rbind");
            return Some(Self::Bind { path: device.into(), recursive, options: words });
        }
        let kind = options.get("type").cloned().unwrap_or_default();
        Some(Self::Fs { kind, device: device.clone(), options: words })
    }
}

/// Docker's rules for names that clients choose.
pub fn check_name(name: &str) -> Result<()> {
    if name.len() == 1 {
        return Err(VolumeError::NameTooShort(name.to_owned()));
    }
    // The directory's name has a prefix while it comes and goes and must stay below 255 bytes.
    if !is_restricted_name(name) || name.len() > 240 {
        return Err(VolumeError::NameInvalid(name.to_owned()));
    }
    Ok(())
}

/// Docker's rules for the options.
pub(crate) fn check_options(name: &str, options: &BTreeMap<String, String>) -> Result<()> {
    let refuse = |reason: String| Err(VolumeError::Option { name: name.to_owned(), reason });
    for (key, value) in options {
        match key.as_str() {
            "size" if quota::parse(value).is_none() => return refuse(format!("invalid size: '{value}'")),
            "type" | "o" | "device" | "size" => {}
            _ => return refuse(format!("invalid option: {key:?}")),
        }
        // A NUL or an overlong text would only fail at the mount, far from its cause.
        if value.contains('\0') || value.len() > 4096 {
            return refuse(format!("invalid value of option: {key:?}"));
        }
    }
    if options.keys().any(|k| k == "type" || k == "o" || k == "device") {
        if let (Some("cifs"), Some(device)) = (options.get("type").map(String::as_str), options.get("device"))
            && has_port(device)
        {
            return refuse("port not allowed in CIFS device URL, include 'port' in 'o='".to_owned());
        }
        for needed in ["device", "type"] {
            if options.get(needed).is_none_or(String::is_empty) {
                return refuse(format!("missing required option: {needed:?}"));
            }
        }
    }
    match DriverMount::parse(options) {
        Some(DriverMount::Bind { path, .. }) if !path.is_absolute() => {
            refuse(format!("device of a bind must be an absolute path: {:?}", path.display().to_string()))
        }
        _ => Ok(()),
    }
}

/// Whether `//host:port/share` names a port.
fn has_port(device: &str) -> bool {
    let host = device.trim_start_matches("//").split('/').next().unwrap_or_default();
    host.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn names_with_docker_s_words() {
        assert!(check_name("data-1").is_ok());
        assert_eq!(
            check_name("a").unwrap_err().to_string(),
            "create a: volume name is too short, names should be at least two alphanumeric characters"
        );
        let message = check_name("a/b").unwrap_err().to_string();
        assert!(message.starts_with("create a/b: \"a/b\" includes invalid characters for a local volume name"));
        for bad in ["..", ".new-x", "", "-a"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn options_are_checked() {
        let message = |pairs: &[_]| check_options("v", &map(pairs)).map_err(|e| e.to_string());
        assert_eq!(message(&[("foo", "x")]), Err("create v: invalid option: \"foo\"".to_owned()));
        assert_eq!(message(&[("type", "tmpfs")]), Err("create v: missing required option: \"device\"".to_owned()));
        assert!(message(&[("type", "none"), ("o", "bind"), ("device", "rel")]).is_err());
        assert_eq!(message(&[("type", "none"), ("o", "bind"), ("device", "/srv")]), Ok(()));
        assert_eq!(message(&[]), Ok(()));
        assert_eq!(message(&[("size", "1x")]), Err("create v: invalid size: '1x'".to_owned()));
        let cifs = message(&[("type", "cifs"), ("device", "//host:445/share")]).unwrap_err();
        assert!(cifs.contains("port not allowed in CIFS device URL"));
    }

    #[test]
    fn options_become_a_mount() {
        assert_eq!(
            DriverMount::parse(&map(&[("type", "none"), ("o", "rbind,ro"), ("device", "/srv")])),
            Some(DriverMount::Bind { path: "/srv".into(), recursive: true, options: vec!["ro".to_owned()] })
        );
        assert_eq!(
            DriverMount::parse(&map(&[("type", "tmpfs"), ("o", "size=1m"), ("device", "tmpfs")])),
            Some(DriverMount::Fs { kind: "tmpfs".into(), device: "tmpfs".into(), options: vec!["size=1m".into()] })
        );
        assert_eq!(DriverMount::parse(&map(&[])), None);
    }
}
