//! Device nodes and the device cgroup's rules.

use gantry_api_types::{DeviceMapping, HostConfig};
use gantry_model::error::Context;
use gantry_model::{Error, Result};
use gantry_runtime::spec::{Device, DeviceRule};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Character devices that every container may use: major, minor (`None` is any).
/// null, zero, full, random, urandom, tty, console, ptmx, net/tun and the pseudo terminals.
const ALLOWED: [(u32, Option<u32>); 10] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(1)),
    (5, Some(2)),
    // The rule only: Docker makes no node, but whoever has CAP_MKNOD and CAP_NET_ADMIN counts on it.
    (10, Some(200)),
    (136, None),
];

/// Directories of `/dev` that are file systems of their own in a container.
const SKIPPED: [&str; 6] = ["pts", "shm", "fd", "mqueue", ".udev", ".lxc"];

/// The nodes to make and the rules, in order.
pub(crate) fn of_container(host: &HostConfig) -> Result<(Vec<Device>, Vec<DeviceRule>)> {
    if host.privileged {
        let mut nodes = Vec::new();
        collect(Path::new("/dev"), Path::new("/dev"), &mut nodes, true)?;
        return Ok((nodes, vec![rule(true, 'a', None, None, "rwm")]));
    }
    let mut nodes = Vec::new();
    let mut rules =
        vec![rule(false, 'a', None, None, "rwm"), rule(true, 'c', None, None, "m"), rule(true, 'b', None, None, "m")];
    rules.extend(ALLOWED.iter().map(|(major, minor)| rule(true, 'c', Some(*major), *minor, "rwm")));
    for mapping in host.devices.iter().flatten() {
        add(mapping, &mut nodes, &mut rules)?;
    }
    for text in host.device_cgroup_rules.iter().flatten() {
        rules.push(parse_rule(text)?);
    }
    Ok((nodes, rules))
}

fn rule(allow: bool, kind: char, major: Option<u32>, minor: Option<u32>, access: &str) -> DeviceRule {
    DeviceRule { allow, kind, major, minor, access: access.to_owned() }
}

/// `Devices`: a node, or a directory of nodes.
fn add(mapping: &DeviceMapping, nodes: &mut Vec<Device>, rules: &mut Vec<DeviceRule>) -> Result<()> {
    let failed = || format!("error gathering device information while adding custom device {:?}", mapping.path_on_host);
    let source = fs::canonicalize(&mapping.path_on_host).map_err(|e| no_such(&e, &failed()))?;
    let target = match mapping.path_in_container.as_str() {
        "" => PathBuf::from(&mapping.path_on_host),
        path => super::mounts::clean(path),
    };
    let access = match mapping.cgroup_permissions.as_str() {
        "" => "rwm",
        access => access,
    };
    let from = nodes.len();
    if source.is_dir() {
        collect(&source, &target, nodes, false).context(failed())?;
    } else {
        let node = node(&source, target)?;
        nodes.push(node.ok_or_else(|| Error::invalid(format!("{}: not a device node", failed())))?);
    }
    for node in &nodes[from..] {
        let kind = if node.block { 'b' } else { 'c' };
        rules.push(rule(true, kind, Some(node.major), Some(node.minor), access));
    }
    Ok(())
}

fn no_such(e: &std::io::Error, failed: &str) -> Error {
    match e.kind() {
        std::io::ErrorKind::NotFound => Error::invalid(format!("{failed}: no such file or directory")),
        _ => Error::invalid(format!("{failed}: {e}")),
    }
}

/// Every device node below `source`, as if `source` were called `target`.
fn collect(source: &Path, target: &Path, nodes: &mut Vec<Device>, skip: bool) -> Result<()> {
    for entry in fs::read_dir(source).context(source.display())? {
        let entry = entry.context(source.display())?;
        let name = entry.file_name();
        let kind = entry.file_type().context(entry.path().display())?;
        if kind.is_dir() {
            if !(skip && SKIPPED.iter().any(|s| name == *s)) {
                collect(&entry.path(), &target.join(&name), nodes, skip)?;
            }
        } else if !(skip && name == "console")
            && let Some(node) = node(&entry.path(), target.join(&name))?
        {
            nodes.push(node);
        }
    }
    Ok(())
}

/// The device at `source`; `None` for anything else and for what has just gone.
fn node(source: &Path, path: PathBuf) -> Result<Option<Device>> {
    let meta = match fs::symlink_metadata(source) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.context(source.display())?,
    };
    let kind = meta.file_type();
    if !kind.is_block_device() && !kind.is_char_device() {
        return Ok(None);
    }
    Ok(Some(Device {
        path,
        block: kind.is_block_device(),
        major: rustix::fs::major(meta.rdev()),
        minor: rustix::fs::minor(meta.rdev()),
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
    }))
}

/// `c 42:* rmw`.
pub(crate) fn parse_rule(text: &str) -> Result<DeviceRule> {
    let parse = || {
        let mut words = text.split(' ');
        let (kind, numbers, access) = (words.next()?, words.next()?, words.next()?);
        let kind = kind.chars().next().filter(|k| kind.len() == 1 && "abc".contains(*k))?;
        let (major, minor) = numbers.split_once(':')?;
        let fits = (1..=3).contains(&access.len()) && access.chars().all(|a| "rwm".contains(a));
        if !fits || words.next().is_some() {
            return None;
        }
        Some(rule(true, kind, number(major).ok()?, number(minor).ok()?, access))
    };
    parse().ok_or_else(|| Error::invalid(format!("invalid device cgroup rule format: '{text}'")))
}

/// A number, or `None` inside for `*`.
fn number(text: &str) -> Result<Option<u32>, ()> {
    match text {
        "*" => Ok(None),
        _ if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().map(Some).map_err(drop),
        _ => Err(()),
    }
}

/// Checks the parts that do not depend on the host's devices.
pub(crate) fn check(host: &HostConfig) -> Result<()> {
    for mapping in host.devices.iter().flatten() {
        let access = &mapping.cgroup_permissions;
        if access.len() > 3 || !access.chars().all(|a| "rwm".contains(a)) {
            return Err(Error::invalid(format!("invalid device mode: {access}")));
        }
    }
    host.device_cgroup_rules.iter().flatten().try_for_each(|text| parse_rule(text).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read() {
        assert_eq!(parse_rule("c 42:* rmw").unwrap(), rule(true, 'c', Some(42), None, "rmw"));
        assert_eq!(parse_rule("a *:* r").unwrap(), rule(true, 'a', None, None, "r"));
        for bad in ["foo", "c 1:2", "d 1:2 r", "c 1:2 rwx", "c 1 r", "c +1:2 r", "c 1:2 r ", "c 99999999999:1 r"] {
            assert!(parse_rule(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mapped_device_gets_a_node_and_a_rule() {
        let mapping = DeviceMapping {
            path_on_host: "/dev/null".into(),
            path_in_container: "/dev/nothing".into(),
            cgroup_permissions: "r".into(),
        };
        let host = HostConfig { devices: Some(vec![mapping]), ..HostConfig::default() };
        let (nodes, rules) = of_container(&host).unwrap();
        assert_eq!((nodes[0].major, nodes[0].minor, nodes[0].block), (1, 3, false));
        assert_eq!(nodes[0].path, Path::new("/dev/nothing"));
        assert_eq!(rules[0], rule(false, 'a', None, None, "rwm"));
        assert_eq!(rules.last(), Some(&rule(true, 'c', Some(1), Some(3), "r")));
    }

    #[test]
    fn what_is_missing_or_no_device_is_an_error() {
        for path in ["/nope", "/etc/passwd"] {
            let mapping = DeviceMapping { path_on_host: path.into(), ..DeviceMapping::default() };
            let host = HostConfig { devices: Some(vec![mapping]), ..HostConfig::default() };
            assert!(of_container(&host).unwrap_err().to_string().starts_with("error gathering device information"));
        }
    }

    #[test]
    fn privileged_sees_every_device() {
        let (nodes, rules) = of_container(&HostConfig { privileged: true, ..HostConfig::default() }).unwrap();
        assert!(nodes.iter().any(|n| n.path == Path::new("/dev/null")));
        assert!(!nodes.iter().any(|n| n.path.starts_with("/dev/pts")));
        assert_eq!(rules, [rule(true, 'a', None, None, "rwm")]);
    }
}
