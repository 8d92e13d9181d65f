//! User namespaces of containers (`--userns-remap`).
//!
//! Layers, volumes and the files of containers lie on the disk with the ids that they have in containers, whether the
//! daemon remaps or not; mounts show them with the ids on the host (`runtime/src/rootfs/shifted.rs`).

use crate::Engine;
use crate::config::Config;
use gantry_api_types::HostConfig;
use gantry_model::error::Context;
use gantry_model::id_map::{IdMap, IdRange};
use gantry_model::{Error, IdMaps, Result};
use gantry_runtime::user_namespace;
use gantry_runtime::view::{self, Origin, Shift, Wanted};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// The daemon's map, and a namespace that has it.
#[derive(Debug)]
pub(crate) struct Remap {
    pub(crate) ids: IdMaps,
    user: OwnedFd,
}

impl Remap {
    /// Makes the namespace, and finds out whether this host can do it before anything depends on it.
    pub(crate) fn open(config: &Config, ids: &IdMaps) -> Result<Self> {
        let user = user_namespace::make(config.shim.as_fd(), ids).context("userns-remap: making a user namespace")?;
        let root = ids.root().ok_or_else(|| Error::invalid("userns-remap: the ranges have no id for root"))?;
        try_it(&config.data_root.join("idmap-check"), Shift { user: user.as_fd(), root }).context(format!(
            "userns-remap needs a kernel of 5.19 or later and a file system with idmapped mounts (ext4, xfs, btrfs) \
             for {}",
            config.data_root.display()
        ))?;
        Ok(Self { ids: ids.clone(), user })
    }
}

/// An overlay of mapped layers in which a file is made.
fn try_it(dir: &Path, shift: Shift<'_>) -> io::Result<()> {
    let gone = |removed: io::Result<()>| match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    };
    gone(fs::remove_dir_all(dir))?;
    let tried = (|| {
        for name in ["lower", "upper", "work", "place"] {
            fs::create_dir_all(dir.join(name))?;
        }
        let (lower, upper, work) = (vec![dir.join("lower")], dir.join("upper"), dir.join("work"));
        let origin = Origin::Writable { lower, upper, work };
        let place = dir.join("place");
        let wanted = Wanted { origin, readonly: false, binds: &[], place: &place, shift: Some(shift) };
        view::within(&wanted, |root| {
            let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
            rustix::fs::openat(root, "file", flags, rustix::fs::Mode::RUSR)
        })??;
        Ok(())
    })();
    gone(fs::remove_dir_all(dir))?;
    tried
}

/// What a container's ids are to be on the host; `None` if it has no user namespace of its own.
pub(crate) fn wanted<'e>(engine: &'e Engine, host: &HostConfig) -> Option<&'e IdMaps> {
    engine.remap.as_ref().map(|remap| &remap.ids).filter(|_| host.userns_mode != "host")
}

/// A user namespace with this map.
pub(crate) fn namespace(engine: &Engine, ids: &IdMaps) -> io::Result<OwnedFd> {
    match &engine.remap {
        Some(remap) if remap.ids == *ids => remap.user.try_clone(),
        // A container that was started by a daemon with other settings.
        _ => user_namespace::make(engine.config.shim.as_fd(), ids),
    }
}

/// What the ids of a running process are here; `None` if it is in the daemon's own user namespace.
pub(crate) fn of_process(pid: u32) -> io::Result<Option<IdMaps>> {
    if fs::read_link(format!("/proc/{pid}/ns/user"))? == fs::read_link("/proc/self/ns/user")? {
        return Ok(None);
    }
    let map = |file: &str| parse_map(&fs::read_to_string(format!("/proc/{pid}/{file}"))?);
    Ok(Some(IdMaps { uids: map("uid_map")?, gids: map("gid_map")? }))
}

fn parse_map(text: &str) -> io::Result<IdMap> {
    let line = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(|word| word.parse().ok());
        let mut next = || numbers.next().flatten();
        Some(IdRange { inside: next()?, outside: next()?, count: next()? })
    };
    let ranges = text.lines().map(|text| line(text).ok_or_else(|| io::ErrorKind::InvalidData.into()));
    Ok(IdMap(ranges.collect::<io::Result<_>>()?))
}

/// What cannot be done in a user namespace, in Docker's words.
pub(crate) fn check(engine: &Engine, host: &HostConfig) -> Result<()> {
    if wanted(engine, host).is_none() {
        return Ok(());
    }
    let refused = [
        (
            host.privileged,
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode",
        ),
        (host.network_mode == "host", "cannot share the host's network namespace when user namespaces are enabled"),
        (host.pid_mode == "host", "cannot share the host PID namespace when user namespaces are enabled"),
    ];
    match refused.iter().find(|(asked, _)| *asked) {
        Some((_, message)) => Err(Error::invalid(*message)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read_as_the_kernel_writes_them() {
        let map = parse_map("         0     100000       1000\n      1000     500000          1\n").unwrap();
        assert_eq!(map.to_host(1000), Some(500_000));
        assert_eq!(map.0.len(), 2);
        assert!(parse_map("0 1\n").is_err() && parse_map("a b c\n").is_err());
        assert_eq!(of_process(std::process::id()).unwrap(), None);
    }
}
