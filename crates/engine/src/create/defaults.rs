//! What a configuration leaves open, filled in as Docker fills it in, so that inspect shows it.

use crate::Engine;
use crate::networks::endpoints;
use crate::plan::logs;
use crate::plan::network::{self, NetworkMode};
use crate::plan::security::{MASKED_PATHS, READONLY_PATHS};
use gantry_api_types::{ContainerConfig, EndpointSettings, HostConfig, NetworkingConfig};
use gantry_model::{Error, Id, Result};
use std::collections::BTreeMap;

/// Completes the host's part.
pub(super) fn host(engine: &Engine, host: &mut HostConfig) -> Result<()> {
    let config = &engine.config;
    let fill = |text: &mut String, default: &str| {
        if text.is_empty() {
            default.clone_into(text);
        }
    };
    host.log_config = logs::resolve(&host.log_config, config)?;
    fill(&mut host.network_mode, "default");
    fill(&mut host.runtime, &config.default_runtime);
    let ipc = if config.default_ipc_mode.is_empty() { "private" } else { &config.default_ipc_mode };
    fill(&mut host.ipc_mode, ipc);
    let unified = engine.cgroups.support().version == 2;
    let cgroupns = config.default_cgroupns_mode.as_deref().unwrap_or(if unified { "private" } else { "host" });
    fill(&mut host.cgroupns_mode, cgroupns);
    if host.memory > 0 && host.memory_swap == 0 {
        host.memory_swap = host.memory.saturating_mul(2);
    }
    if host.shm_size == 0 {
        host.shm_size = i64::try_from(config.shm_size).unwrap_or(64 << 20);
    }
    host.oom_kill_disable.get_or_insert(false);
    // A process that sees the host's others cannot be kept from them by a label; what the client says comes first.
    let sees_host = host.privileged || host.ipc_mode == "host" || host.pid_mode == "host";
    if sees_host && !host.security_opt.iter().flatten().any(|option| option.starts_with("label=")) {
        host.security_opt.get_or_insert_default().push("label=disable".to_owned());
    }
    if host.privileged {
        return Ok(());
    }
    let paths = |list: &[&str]| Some(list.iter().map(|p| (*p).to_owned()).collect());
    // An empty list means none: `--security-opt systempaths=unconfined`.
    if host.masked_paths.is_none() {
        host.masked_paths = paths(&MASKED_PATHS);
    }
    if host.readonly_paths.is_none() {
        host.readonly_paths = paths(&READONLY_PATHS);
    }
    Ok(())
}

/// Completes the portable part after the image's is merged in.
pub(super) fn config(config: &mut ContainerConfig, host: &HostConfig, id: Id) {
    if config.hostname.is_empty() {
        let of_host = host.network_mode == "host" || host.uts_mode == "host";
        config.hostname =
            if of_host { rustix::system::uname().nodename().to_string_lossy().into_owned() } else { id.short() };
    }
}

/// The networks a container joins: those that the client asked for, or that of its mode. By name; one that does not
/// exist is found out at the start, as in Docker.
pub(super) fn networks(
    engine: &Engine,
    host: &HostConfig,
    config: &ContainerConfig,
    asked: NetworkingConfig,
) -> Result<BTreeMap<String, EndpointSettings>> {
    let asked = asked.endpoints_config.unwrap_or_default();
    let mode = network::parse_mode(&host.network_mode);
    let Some(own) = mode.network().filter(|_| !config.network_disabled) else {
        return Ok(BTreeMap::new());
    };
    let mut all = BTreeMap::new();
    for (name, settings) in asked {
        let settings = endpoints::asked(settings.unwrap_or_default());
        let name = engine.network_name(if name == "default" { "bridge" } else { &name });
        match engine.networks.named(&name) {
            Some(network) => endpoints::check_on(&network, &settings)
                .map_err(|e| e.context(format!("invalid config for network {name}")))?,
            None => endpoints::check(&settings)?,
        }
        all.insert(name, settings);
    }
    let own = engine.network_name(own);
    let plain = |name: &String| name == "host" || name == "none";
    if let (Some(name), NetworkMode::Host | NetworkMode::None) = (all.keys().find(|name| **name != own), &mode) {
        return Err(Error::invalid(format!("conflicting options: network {name} and the network mode {own}")));
    }
    if all.keys().any(plain) && all.len() > 1 {
        return Err(Error::invalid(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode",
        ));
    }
    // The mode's network comes to those that were asked for, unless the mode is what clients send when they mean none.
    if all.is_empty() || mode != NetworkMode::Bridge {
        all.entry(own).or_default();
    }
    Ok(all)
}
