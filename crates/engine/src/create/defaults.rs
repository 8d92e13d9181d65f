//! What a configuration leaves open, filled in as Docker fills it in, so that inspect shows it.

use crate::Engine;
use crate::info::RUNTIME;
use crate::plan::security::{MASKED_PATHS, READONLY_PATHS};
use crate::plan::{logs, network};
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
    fill(&mut host.runtime, RUNTIME);
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

/// The networks a container joins: the one of its mode, with what the client asks of it.
pub(super) fn networks(
    host: &HostConfig,
    config: &ContainerConfig,
    asked: NetworkingConfig,
) -> Result<BTreeMap<String, EndpointSettings>> {
    let mut asked = asked.endpoints_config.unwrap_or_default();
    if asked.len() > 1 {
        let names: Vec<&str> = asked.keys().map(String::as_str).collect();
        return Err(Error::invalid(format!(
            "Container cannot be connected to network endpoints: {}",
            names.join(", ")
        )));
    }
    if host.network_mode.starts_with("container:") || config.network_disabled {
        return Ok(BTreeMap::new());
    }
    // A network that does not exist is found out at the start, as in Docker.
    let name = match network::parse_mode(&host.network_mode).ok().and_then(|mode| mode.network()) {
        Some(network) => network.name().to_owned(),
        None => host.network_mode.clone(),
    };
    let settings = match name.as_str() {
        "bridge" => asked.remove("bridge").or_else(|| asked.remove("default")),
        name => asked.remove(name),
    };
    let settings = settings.flatten().unwrap_or_default();
    for kept in asked.into_keys() {
        // Docker joins the network and ignores the mode's; here only the predefined ones exist.
        network::parse_mode(&kept)?;
    }
    if !settings.mac_address.is_empty() {
        settings
            .mac_address
            .parse::<gantry_network::MacAddr>()
            .map_err(|_| Error::invalid(format!("invalid MAC address: {}", settings.mac_address)))?;
    }
    Ok([(name, settings)].into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_follow_the_mode() {
        let of = |mode: &str, asked: &[&str]| {
            let host = HostConfig { network_mode: mode.into(), ..HostConfig::default() };
            let endpoints = asked.iter().map(|name| ((*name).to_owned(), None)).collect();
            let asked = NetworkingConfig { endpoints_config: Some(endpoints) };
            networks(&host, &ContainerConfig::default(), asked)
        };
        assert_eq!(of("default", &[]).unwrap().into_keys().collect::<Vec<_>>(), ["bridge"]);
        assert_eq!(of("none", &[]).unwrap().into_keys().collect::<Vec<_>>(), ["none"]);
        assert!(of("container:x", &[]).unwrap().is_empty());
        assert_eq!(
            of("bridge", &["a", "b"]).unwrap_err().to_string(),
            "Container cannot be connected to network endpoints: a, b"
        );
        assert_eq!(of("bridge", &["nope"]).unwrap_err().to_string(), "network nope not found");
    }
}
