//! Checks of what a client asks for that need neither an image nor the disk. The words are
//! Docker's, because clients and their users match on them.

use crate::Engine;
use crate::links;
use crate::oci;
use crate::plan::{devices, network, security};
use crate::remap;
use gantry_api_types::{ContainerConfig, HealthConfig, HostConfig};
use gantry_model::signal;
use gantry_model::{Error, Result};
use std::net::IpAddr;

/// The least interval and timeout of a health check.
const MILLISECOND: i64 = 1_000_000;

fn refuse<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::invalid(message))
}

/// The portable part.
pub(super) fn config(config: &ContainerConfig) -> Result<()> {
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        return refuse(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            config.working_dir
        ));
    }
    if !config.stop_signal.is_empty() && signal::parse(&config.stop_signal).is_err() {
        return refuse(format!("Invalid signal: {}", config.stop_signal));
    }
    for variable in config.env.iter().flatten() {
        if variable.is_empty() || variable.starts_with('=') {
            return refuse(format!("invalid environment variable: {variable}"));
        }
    }
    // What ends up in an argument, a path or a file name of the kernel's ends at a NUL.
    let texts = [&config.hostname, &config.domainname, &config.user, &config.working_dir];
    let lists = [&config.env, &config.cmd, &config.entrypoint];
    if texts.into_iter().chain(lists.into_iter().flatten().flatten()).any(|text| text.contains('\0')) {
        return refuse("a text of the configuration contains a NUL byte");
    }
    if config.hostname.len() > 64 || config.domainname.len() > 64 {
        return refuse("host and domain name must not be longer than 64 characters");
    }
    config.healthcheck.as_ref().map_or(Ok(()), health)
}

fn health(health: &HealthConfig) -> Result<()> {
    for (value, name) in [
        (health.interval, "Interval"),
        (health.timeout, "Timeout"),
        (health.start_period, "StartPeriod"),
        (health.start_interval, "StartInterval"),
    ] {
        if value != 0 && value < MILLISECOND {
            return refuse(format!("{name} in Healthcheck cannot be less than 1ms"));
        }
    }
    if health.retries < 0 {
        return refuse("Retries in Healthcheck cannot be negative");
    }
    Ok(())
}

/// The part that depends on the host, without limits and mounts.
pub(super) fn host(engine: &Engine, host: &HostConfig) -> Result<()> {
    restart(host)?;
    ports(host)?;
    extra_hosts(host)?;
    namespaces(engine, host)?;
    security::parse(host)?;
    devices::check(host)?;
    if !matches!(host.isolation.as_str(), "" | "default") {
        return refuse(format!("Invalid isolation: {:?} - linux only supports 'default'", host.isolation));
    }
    if host.shm_size < 0 {
        return refuse("SHM size can not be less than 0");
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return refuse(format!("Invalid value {}, range for oom score adj is [-1000, 1000]", host.oom_score_adj));
    }
    oci::check(engine, host)?;
    if host.cgroup_parent.split('/').any(|part| part == "..") || host.cgroup_parent.contains('\0') {
        return refuse(format!("invalid cgroup parent: {:?}", host.cgroup_parent));
    }
    if host.storage_opt.as_ref().is_some_and(|options| !options.is_empty()) {
        return refuse("--storage-opt is supported only for overlay over xfs with 'pquota' mount option");
    }
    if let Some(request) = host.device_requests.iter().flatten().next() {
        // As Go prints a list of lists.
        let lists = request.capabilities.iter().flatten().map(|one| format!("[{}]", one.join(" ")));
        let capabilities = lists.collect::<Vec<_>>().join(" ");
        return refuse(format!(
            "could not select device driver {:?} with capabilities: [{capabilities}]",
            request.driver
        ));
    }
    // Who they mean is asked again when the container is made; the image is not looked for before this is right.
    links::resolve(engine, host).map(drop)
}

/// The restart policy.
pub(crate) fn restart(host: &HostConfig) -> Result<()> {
    let policy = &host.restart_policy;
    match policy.name.as_str() {
        "always" | "unless-stopped" | "no" if policy.maximum_retry_count != 0 => {
            return refuse(format!("maximum retry count cannot be used with restart policy '{}'", policy.name));
        }
        "on-failure" if policy.maximum_retry_count < 0 => return refuse("maximum retry count cannot be negative"),
        "" | "no" | "always" | "unless-stopped" | "on-failure" => {}
        name => return refuse(format!("invalid restart policy '{name}'")),
    }
    if host.auto_remove && !matches!(policy.name.as_str(), "" | "no") {
        return refuse("can't create 'AutoRemove' container with restart policy");
    }
    Ok(())
}

fn ports(host: &HostConfig) -> Result<()> {
    for (port, bindings) in host.port_bindings.iter().flatten() {
        network::parse_port(port)?;
        for binding in bindings.iter().flatten() {
            network::parse_host_ports(&binding.host_port)?;
        }
    }
    Ok(())
}

fn extra_hosts(host: &HostConfig) -> Result<()> {
    for extra in host.extra_hosts.iter().flatten() {
        let Some((name, address)) = extra.split_once(':').or_else(|| extra.split_once('=')) else {
            return refuse(format!("bad format for add-host: {extra:?}"));
        };
        if name.is_empty() || name.contains(char::is_whitespace) {
            return refuse(format!("bad format for add-host: {extra:?}"));
        }
        if address != "host-gateway" && address.trim_matches(['[', ']']).parse::<IpAddr>().is_err() {
            return refuse(format!("invalid IP address in add-host: {address:?}"));
        }
    }
    // They become lines of a file.
    let words = [&host.dns, &host.dns_search, &host.dns_options];
    match words.into_iter().flatten().flatten().find(|word| word.contains(char::is_whitespace)) {
        Some(word) => refuse(format!("{word:?} is not a word of resolv.conf")),
        None => Ok(()),
    }
}

fn namespaces(engine: &Engine, host: &HostConfig) -> Result<()> {
    let known = |name: &str| engine.find(name).map(drop).map_err(|e| Error::invalid(e.message()));
    if host.network_mode == "container:" {
        return refuse("Invalid network mode: invalid container format container:<name|id>");
    }
    match host.pid_mode.as_str() {
        "" | "host" => {}
        mode => match mode.strip_prefix("container:") {
            Some(name) => known(name)?,
            None => return refuse(format!("invalid PID mode: {mode}")),
        },
    }
    match host.ipc_mode.as_str() {
        "" | "none" | "private" | "shareable" | "host" => {}
        mode => match mode.strip_prefix("container:") {
            Some(name) if !name.is_empty() => known(name)?,
            _ => return refuse(format!("invalid IPC mode: {mode}")),
        },
    }
    match host.uts_mode.as_str() {
        "" | "host" => {}
        mode => return refuse(format!("invalid UTS mode: {mode}")),
    }
    match host.userns_mode.as_str() {
        "" | "host" => {}
        mode => return refuse(format!("invalid user namespace mode: {mode}")),
    }
    remap::check(engine, host)?;
    match host.cgroupns_mode.as_str() {
        "" | "private" | "host" => Ok(()),
        mode => refuse(format!("invalid cgroup namespace mode: {mode}")),
    }
}

/// What the two parts must not ask for together.
pub(super) fn together(config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    let shared = host.network_mode.starts_with("container:");
    if !config.hostname.is_empty() && shared {
        return refuse("conflicting options: hostname and the network mode");
    }
    if !config.hostname.is_empty() && host.uts_mode == "host" {
        return refuse("conflicting options: hostname and the UTS mode");
    }
    if shared && host.links.as_ref().is_some_and(|l| !l.is_empty()) {
        return refuse("conflicting options: container type network can't be used with links");
    }
    if host.network_mode == "host" && host.links.as_ref().is_some_and(|l| !l.is_empty()) {
        return refuse(links::WITH_HOST_NETWORK);
    }
    if shared && host.dns.as_ref().is_some_and(|l| !l.is_empty()) {
        return refuse("conflicting options: dns and the network mode");
    }
    if shared && host.extra_hosts.as_ref().is_some_and(|l| !l.is_empty()) {
        return refuse("conflicting options: custom host-to-IP mapping and the network mode");
    }
    if !config.mac_address.is_empty() && (shared || host.network_mode == "host") {
        return refuse("conflicting options: mac-address and the network mode");
    }
    let published = host.publish_all_ports || host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty());
    if shared && published {
        return refuse("conflicting options: port publishing and the container type network mode");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_api_types::RestartPolicy;

    #[test]
    fn configurations() {
        let message = |c: ContainerConfig| config(&c).err().map_or_else(String::new, |e| e.to_string());
        let default = ContainerConfig::default;
        for (config, text) in [
            (default(), ""),
            (
                ContainerConfig { working_dir: "rel".into(), ..default() },
                "the working directory 'rel' is invalid, it needs to be an absolute path",
            ),
            (ContainerConfig { stop_signal: "FOO".into(), ..default() }, "Invalid signal: FOO"),
            (ContainerConfig { env: Some(vec!["=x".into()]), ..default() }, "invalid environment variable: =x"),
            (
                ContainerConfig {
                    healthcheck: Some(HealthConfig { interval: 1, ..HealthConfig::default() }),
                    ..default()
                },
                "Interval in Healthcheck cannot be less than 1ms",
            ),
            (
                ContainerConfig { cmd: Some(vec!["a\0b".into()]), ..default() },
                "a text of the configuration contains a NUL byte",
            ),
        ] {
            assert_eq!(message(config), text);
        }
    }

    #[test]
    fn restart_policies() {
        let message = |name: &str, count, auto_remove| {
            let restart_policy = RestartPolicy { name: name.into(), maximum_retry_count: count };
            let host = HostConfig { restart_policy, auto_remove, ..HostConfig::default() };
            restart(&host).err().map_or_else(String::new, |e| e.to_string())
        };
        assert_eq!(message("foo", 0, false), "invalid restart policy 'foo'");
        assert_eq!(message("always", 3, false), "maximum retry count cannot be used with restart policy 'always'");
        assert_eq!(message("on-failure", -3, false), "maximum retry count cannot be negative");
        assert_eq!(message("always", 0, true), "can't create 'AutoRemove' container with restart policy");
        assert_eq!(message("on-failure", 3, false) + &message("no", 0, true) + &message("", 0, true), "");
    }

    #[test]
    fn hosts() {
        let message = |extra: &str| {
            let host = HostConfig { extra_hosts: Some(vec![extra.into()]), ..HostConfig::default() };
            extra_hosts(&host).err().map_or_else(String::new, |e| e.to_string())
        };
        assert_eq!(message("foo"), "bad format for add-host: \"foo\"");
        assert_eq!(message("foo:zz"), "invalid IP address in add-host: \"zz\"");
        assert_eq!(message("foo:host-gateway") + &message("foo:::1") + &message("foo:1.2.3.4"), "");
        assert!(!message("a\nb:1.2.3.4").is_empty());
    }
}
