//! Mounting what the local driver's options `type`, `o` and `device` say.

use crate::plan::mounts::split_flags;
use gantry_model::{Error, Result};
use gantry_runtime::failure::errno_text;
use gantry_runtime::held_mount;
use gantry_runtime::spec::MountFlags;
use gantry_volumes::DriverMount;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// `MS_BIND` and `MS_REC`, as Docker's errors show them.
const BIND_FLAGS: [u32; 2] = [0x1000, 0x5000];

/// A directory of the host that stands for a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostDirectory {
    pub(crate) path: PathBuf,
    pub(crate) recursive: bool,
    pub(crate) flags: MountFlags,
}

/// Checks a bind. It is not mounted once for all: every container that binds the directory sees the same.
pub(super) fn bind(mount: &DriverMount, mountpoint: &Path) -> Result<Option<HostDirectory>> {
    let DriverMount::Bind { path, recursive, options } = mount else { return Ok(None) };
    let (flags, rest) = split_flags(MountFlags::default(), options);
    let failed = |why: &str| {
        let number = BIND_FLAGS[usize::from(*recursive)];
        let data = if rest.is_empty() { String::new() } else { format!(", data: {}", rest.join(",")) };
        let (path, mountpoint) = (path.display(), mountpoint.display());
        Error::internal(format!(
            "failed to mount local volume: mount {path}:{mountpoint}, flags: {number:#x}{data}: {why}"
        ))
    };
    match std::fs::metadata(path) {
        Err(e) => Err(failed(&errno_text(&e))),
        Ok(metadata) if !metadata.is_dir() => Err(failed("not a directory")),
        Ok(_) if !rest.is_empty() => Err(failed("invalid argument")),
        Ok(_) => Ok(Some(HostDirectory { path: path.clone(), recursive: *recursive, flags })),
    }
}

/// Mounts a file system where only containers see it. `place` is any directory.
pub(super) fn file_system(mount: &DriverMount, mountpoint: &Path, place: &Path) -> Result<OwnedFd> {
    let DriverMount::Fs { kind, device, options } = mount else {
        return Err(Error::internal("a bind is no file system"));
    };
    let (device, options) = if matches!(kind.as_str(), "nfs" | "nfs4" | "cifs") {
        resolved(kind, device, options)?
    } else {
        (device.clone(), options.clone())
    };
    let (flags, rest) = split_flags(MountFlags::default(), &options);
    // The new mount API takes mount(2)'s first argument as the key `source`.
    let mut all: Vec<String> = std::iter::once(format!("source={device}")).chain(rest.iter().cloned()).collect();
    if flags.readonly {
        // Not only the mount: the file system itself is not to write, as to the journal of a device.
        all.push("ro".to_owned());
    }
    held_mount::mount(kind, &all, flags, place).map_err(|e| {
        let data = if rest.is_empty() { String::new() } else { format!(", data: {}", masked(&rest)) };
        let (mountpoint, why) = (mountpoint.display(), errno_text(&e));
        let shown = shown_flags(flags);
        Error::internal(format!("failed to mount local volume: mount {device}:{mountpoint}{shown}{data}: {why}"))
    })
}

/// The flags as Docker's errors show them, by their numbers in mount(2).
fn shown_flags(flags: MountFlags) -> String {
    let bits = [
        (flags.readonly, 0x1),
        (flags.nosuid, 0x2),
        (flags.nodev, 0x4),
        (flags.noexec, 0x8),
        (flags.noatime, 0x400),
        (flags.nodiratime, 0x800),
        (flags.strictatime, 0x100_0000),
    ];
    let all = bits.iter().filter(|(set, _)| *set).fold(0, |all, (_, bit)| all | bit);
    if all == 0 { String::new() } else { format!(", flags: {all:#x}") }
}

/// The kernel knows no names: `addr=` and the host of a `cifs` device become addresses.
fn resolved(kind: &str, device: &str, options: &[String]) -> Result<(String, Vec<String>)> {
    let mut options = options.to_vec();
    let mut named = false;
    for option in &mut options {
        if let Some(host) = option.strip_prefix("addr=").filter(|host| host.parse::<IpAddr>().is_err()) {
            *option = format!("addr={}", resolve(host)?);
            named = true;
        }
    }
    if kind != "cifs" || named {
        return Ok((device.to_owned(), options));
    }
    let share = device.trim_start_matches("//");
    let (host, path) = share.split_once('/').unwrap_or((share, ""));
    if !device.starts_with("//") || host.is_empty() || host.parse::<IpAddr>().is_ok() {
        return Ok((device.to_owned(), options));
    }
    Ok((format!("//{}/{path}", resolve(host)?), options))
}

fn resolve(host: &str) -> Result<IpAddr> {
    let found = (host, 0).to_socket_addrs().and_then(|mut all| {
        let all: Vec<IpAddr> = all.by_ref().map(|address| address.ip()).collect();
        let first = all.iter().find(|ip| ip.is_ipv4()).or(all.first()).copied();
        first.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    });
    found.map_err(|_| {
        Error::internal(format!("error resolving passed in network volume address: lookup {host}: no such host"))
    })
}

/// A password is nobody's business who reads an error.
fn masked(options: &[String]) -> String {
    let hide = |option: &String| match option.split_once('=') {
        Some((key @ ("password" | "pass"), _)) => format!("{key}=********"),
        _ => option.clone(),
    };
    options.iter().map(hide).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(options: &[&str]) -> Vec<String> {
        options.iter().map(|o| (*o).to_owned()).collect()
    }

    #[test]
    fn names_become_addresses() {
        let (device, options) = resolved("nfs", ":/export", &words(&["addr=127.0.0.1", "rw"])).unwrap();
        assert_eq!((device.as_str(), options), (":/export", words(&["addr=127.0.0.1", "rw"])));
        let (_, options) = resolved("nfs", ":/export", &words(&["addr=localhost"])).unwrap();
        assert_eq!(options, words(&["addr=127.0.0.1"]));
        let (device, _) = resolved("cifs", "//localhost/share/x", &words(&["username=u"])).unwrap();
        assert_eq!(device, "//127.0.0.1/share/x");
        let error = resolved("nfs", ":/x", &words(&["addr=no-such-host.invalid"])).unwrap_err();
        assert!(error.to_string().starts_with("error resolving passed in network volume address: lookup no-such-host"));
    }

    #[test]
    fn errors_keep_secrets() {
        assert_eq!(masked(&words(&["username=u", "password=p", "vers=3"])), "username=u,password=********,vers=3");
    }

    #[test]
    fn binds_in_docker_s_words() {
        let mount = DriverMount::Bind { path: "/no/such".into(), recursive: false, options: Vec::new() };
        let error = bind(&mount, Path::new("/v/_data")).unwrap_err().to_string();
        assert_eq!(
            error,
            "failed to mount local volume: mount /no/such:/v/_data, flags: 0x1000: no such file or directory"
        );
    }
}
