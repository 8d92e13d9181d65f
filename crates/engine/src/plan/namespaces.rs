//! Namespaces, and the running containers whose namespaces are joined.

use super::network::{self, NetworkMode};
use crate::Engine;
use crate::container::{Container, Record};
use crate::remap;
use gantry_model::{ContainerStatus, Error, Result};
use gantry_runtime::spec::{Namespace, Namespaces, UserNamespace};
use std::sync::Arc;

/// Resolves every namespace of a container that is about to start.
pub(crate) fn of_container(engine: &Engine, record: &Record) -> Result<Namespaces> {
    let host = &record.host_config;
    let net = match network::mode(record) {
        NetworkMode::Host => Namespace::Host,
        NetworkMode::Bridge | NetworkMode::None | NetworkMode::Custom(_) => Namespace::New,
        NetworkMode::Container(name) => joined(running(engine, record, &name, "network")?.as_ref()),
    };
    let ipc = match host.ipc_mode.as_str() {
        "host" => Namespace::Host,
        mode => match mode.strip_prefix("container:") {
            Some(name) => joined(shareable(running(engine, record, name, "IPC")?)?.as_ref()),
            None => Namespace::New,
        },
    };
    let pid = match host.pid_mode.as_str() {
        "host" => Namespace::Host,
        mode => match mode.strip_prefix("container:") {
            Some(name) => joined(running(engine, record, name, "PID")?.as_ref()),
            None => Namespace::New,
        },
    };
    let own = |mode: &str| if mode == "host" { Namespace::Host } else { Namespace::New };
    Ok(Namespaces { pid, net, ipc, uts: own(&host.uts_mode), cgroup: own(&host.cgroupns_mode) })
}

/// The user namespace: a new one, unless other namespaces are shared with a container that has one. Those would belong to
/// that one, and be of little use in another.
pub(crate) fn user(engine: &Engine, record: &Record) -> Result<Option<UserNamespace>> {
    let host = &record.host_config;
    let Some(ids) = remap::wanted(engine, host) else { return Ok(None) };
    let modes = [(&host.network_mode, "network"), (&host.ipc_mode, "IPC"), (&host.pid_mode, "PID")];
    for (mode, what) in modes {
        let Some(name) = mode.strip_prefix("container:") else { continue };
        let peer = running(engine, record, name, what)?;
        let pid = peer.read().state.pid;
        if let Some(theirs) = remap::of_process(pid)? {
            return Ok(Some(UserNamespace { source: joined(&peer), ids: theirs }));
        }
    }
    Ok(Some(UserNamespace { source: Namespace::New, ids: ids.clone() }))
}

/// The container whose network is shared, if it is; it need not run.
pub(crate) fn network_peer(engine: &Engine, record: &Record) -> Result<Option<Arc<Container>>> {
    match network::mode(record) {
        NetworkMode::Container(name) => engine.find(&name).map(Some),
        _ => Ok(None),
    }
}

fn running(engine: &Engine, record: &Record, name: &str, what: &str) -> Result<Arc<Container>> {
    let peer = engine.find(name)?;
    if peer.id == record.id {
        return Err(Error::invalid(format!("cannot join own {what}")));
    }
    let status = peer.read().state.status;
    match status {
        ContainerStatus::Restarting => {
            Err(Error::conflict(format!("Container {} is restarting, wait until the container is running", peer.id)))
        }
        _ if status.is_live() => Ok(peer),
        // The reference engine's statuses and words, which differ by namespace.
        _ if what == "network" => {
            Err(Error::conflict(format!("cannot join {what} of a non running container: {}", peer.id)))
        }
        _ => Err(Error::internal(format!("container {} is not running", peer.id))),
    }
}

fn shareable(peer: Arc<Container>) -> Result<Arc<Container>> {
    let (id, mode) = (peer.id, peer.read().host_config.ipc_mode.clone());
    match mode.as_str() {
        "shareable" | "host" => Ok(peer),
        mode if mode.starts_with("container:") => Ok(peer),
        _ => Err(Error::invalid(format!(
            "cannot join IPC of container {id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
        ))),
    }
}

fn joined(peer: &Container) -> Namespace {
    let record = peer.read();
    Namespace::Of { pid: record.state.pid, start_time: record.state.pid_start_time }
}
