//! tmpfs mounts: `HostConfig.Tmpfs` and mounts of type `tmpfs`.

use super::mounts::{HARMLESS, is_propagation, mount, split_flags};
use gantry_api_types::Mount as Asked;
use gantry_model::{Error, Result};
use gantry_runtime::spec::{Mount, MountFlags, MountSource};
use std::path::Path;

/// Options that tmpfs(5) has and Docker allows.
const KEYS: [&str; 7] = ["mode", "uid", "gid", "size", "nr_inodes", "nr_blocks", "mpol"];
/// Words that are flags of the mount or say nothing new.
const FLAGS: [&str; 20] = [
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "atime",
    "noatime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "diratime",
    "nodiratime",
    "sync",
    "async",
    "dirsync",
    "defaults",
];

/// `--tmpfs target:options`.
pub(super) fn mount_text(options: &str) -> Result<(MountFlags, Vec<String>)> {
    let words: Vec<String> = options.split(',').filter(|w| !w.is_empty()).map(str::to_owned).collect();
    for word in &words {
        let known = match word.split_once('=') {
            Some((key, _)) => KEYS.contains(&key),
            None => FLAGS.contains(&word.as_str()) || is_propagation(word),
        };
        if !known {
            return Err(Error::invalid(format!("Invalid tmpfs option [{word:?}]")));
        }
    }
    Ok(split_flags(HARMLESS, &words))
}

/// The mount of `--tmpfs`.
pub(super) fn mount_of(target: &Path, options: &str) -> Result<Mount> {
    let (flags, options) = mount_text(options)?;
    Ok(mount(MountSource::Fs { kind: "tmpfs".to_owned(), options }, target, flags))
}

/// The mount of `--mount type=tmpfs`.
pub(crate) fn of_mount(target: &Path, asked: Option<&Asked>) -> Result<Mount> {
    let mut words = Vec::new();
    if let Some(options) = asked.and_then(|m| m.tmpfs_options.as_ref()) {
        for option in options.options.iter().flatten() {
            match option.as_slice() {
                [word] | [word, _] if matches!(word.as_str(), "exec" | "noexec") => {}
                [word] | [word, _] => return Err(Error::invalid(format!("invalid option: {word}"))),
                _ => return Err(Error::invalid("invalid option array length")),
            }
        }
        if options.size_bytes < 0 {
            return Err(Error::invalid(format!("invalid size of a tmpfs: {}", options.size_bytes)));
        }
        if options.size_bytes > 0 {
            words.push(format!("size={}", options.size_bytes));
        }
        if options.mode != 0 {
            words.push(format!("mode={:o}", options.mode & 0o7777));
        }
        words.extend(options.options.iter().flatten().map(|pair| pair.join("=")));
    }
    if asked.is_some_and(|m| m.read_only) {
        words.push("ro".to_owned());
    }
    mount_of(target, &words.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let (flags, options) = mount_text("rw,exec,size=1m,mode=1770").unwrap();
        assert!(!flags.noexec && flags.nosuid && flags.nodev);
        assert_eq!(options, ["size=1m", "mode=1770"]);
        assert_eq!(mount_text("foo=bar").unwrap_err().to_string(), "Invalid tmpfs option [\"foo=bar\"]");
        assert_eq!(mount_text("").unwrap(), (HARMLESS, Vec::new()));
        let (flags, options) = mount_text("noatime,nodiratime,sync,dirsync,rshared").unwrap();
        assert!(flags.noatime && flags.nodiratime);
        assert_eq!(options, ["sync", "dirsync"]);
    }

    #[test]
    fn of_the_mounts_api() {
        let options = gantry_api_types::TmpfsOptions { size_bytes: 4096, mode: 0o1777, options: None };
        let asked = Asked { tmpfs_options: Some(options), read_only: true, ..Asked::default() };
        let mount = of_mount(Path::new("/t"), Some(&asked)).unwrap();
        assert!(mount.flags.readonly);
        let wanted = MountSource::Fs { kind: "tmpfs".into(), options: vec!["size=4096".into(), "mode=1777".into()] };
        assert_eq!(mount.source, wanted);
    }
}
