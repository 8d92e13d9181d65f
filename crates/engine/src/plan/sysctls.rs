//! `Sysctls`: which a container may set, and the defaults.

use super::network::NetworkMode;
use gantry_api_types::HostConfig;
use gantry_model::{Error, IdMaps, Result};

/// Values below `kernel.` that belong to an IPC namespace.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// What every container with a network namespace of its own gets, as in Docker: low ports and ping without privileges.
const DEFAULTS: [(&str, &str); 2] =
    [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];

/// The values to write; `ids` are those of the container's user namespace.
pub(crate) fn of_container(
    host: &HostConfig,
    mode: &NetworkMode,
    ids: Option<&IdMaps>,
) -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    if mode.is_private() {
        all.extend(DEFAULTS.map(|(k, v)| (k.to_owned(), v.to_owned())));
        // The kernel takes no group that the namespace does not have.
        if let Some(first) = ids.and_then(|ids| ids.gids.0.iter().find(|range| range.inside == 0)) {
            all[1].1 = format!("0 {}", first.count.saturating_sub(1).min(i32::MAX as u32));
        }
        all.retain(|(key, _)| !host.sysctls.iter().flatten().any(|(k, _)| k == key));
    }
    for (key, value) in host.sysctls.iter().flatten() {
        check(key, host, mode)?;
        all.push((key.clone(), value.clone()));
    }
    Ok(all)
}

/// A value outside the container's own namespaces would change the host.
fn check(key: &str, host: &HostConfig, mode: &NetworkMode) -> Result<()> {
    let refuse = |text: String| Err(Error::invalid(text));
    // Slashes and dots may change places, so that interface names may have dots; neither may climb.
    if key.split(['.', '/']).any(str::is_empty) {
        return refuse(format!("sysctl {key:?} is not in a separate kernel namespace"));
    }
    let name = key.replace('/', ".");
    let namespace = if name.starts_with("net.") {
        (*mode == NetworkMode::Host).then_some("network")
    } else if IPC.contains(&name.as_str()) || name.starts_with("fs.mqueue.") {
        (host.ipc_mode == "host").then_some("ipc")
    } else {
        return refuse(format!("sysctl {key:?} is not in a separate kernel namespace"));
    };
    match namespace {
        Some(namespace) => refuse(format!("sysctl {key:?} not allowed in host {namespace} namespace")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_belongs_to_the_container() {
        let host = HostConfig::default();
        for good in ["net.ipv4.ip_forward", "kernel.shmmax", "fs.mqueue.msg_max", "net/ipv4/conf/eth0.1/x"] {
            assert!(check(good, &host, &NetworkMode::Bridge).is_ok(), "{good}");
        }
        for bad in ["kernel.hostname", "vm.swappiness", "net", "net..x", "net/../kernel/panic", "", "/net.x"] {
            assert!(check(bad, &host, &NetworkMode::Bridge).is_err(), "{bad}");
        }
        assert!(check("net.x", &host, &NetworkMode::Host).is_err());
        let host = HostConfig { ipc_mode: "host".into(), ..host };
        assert!(check("kernel.sem", &host, &NetworkMode::Bridge).is_err());
    }

    #[test]
    fn defaults_can_be_overridden() {
        let sysctls = Some([("net.ipv4.ip_unprivileged_port_start".to_owned(), "1024".to_owned())].into());
        let host = HostConfig { sysctls, ..HostConfig::default() };
        let all = of_container(&host, &NetworkMode::None, None).unwrap();
        assert_eq!(all.len(), 2);
        assert!(all.contains(&("net.ipv4.ip_unprivileged_port_start".to_owned(), "1024".to_owned())));
        assert!(of_container(&HostConfig::default(), &NetworkMode::Host, None).unwrap().is_empty());
    }
}
