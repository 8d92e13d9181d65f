//! The `local` driver's names and options: `type`, `o` and `device`, as `mount -t … -o … device`.

use crate::error::{Result, VolumeError};
use gantry_model::names::is_restricted_name;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The one driver there is.
pub const VOLUME_DRIVER: &str = "local";

/// A mount that takes the place of a volume's directory.
///
/// Docker mounts it once on the host and binds it into each container. Gantry makes no mounts on
/// the host: the container mounts it itself, so a `tmpfs` volume is not shared between containers.
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
            "type" | "o" | "device" => {}
            "size" => return refuse("quota size requested but no quota support".to_owned()),
            _ => return refuse(format!("invalid option: {key:?}")),
        }
        // A NUL or an overlong text would only fail at the mount, far from its cause.
        if value.contains('\0') || value.len() > 4096 {
            return refuse(format!("invalid value of option: {key:?}"));
        }
    }
    if options.keys().any(|k| k == "type" || k == "o" || k == "device") {
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
