//! `GET /info`.

use crate::version::VERSION;
use crate::{Engine, host, registries};
use gantry_api_types::SystemInfo;
use gantry_api_types::info::{Commit, FirewallInfo, PluginsInfo, RuntimeInfo, SwarmInfo};
use gantry_model::{ContainerStatus, Result, Timestamp};
use gantry_plugins::Kind;
use gantry_runtime::cgroup::Support;
use std::collections::BTreeMap;

/// The name under which clients know the built-in runtime; what `HostConfig.Runtime` says by default.
pub(crate) const RUNTIME: &str = "runc";

impl Engine {
    /// Everything about the engine and its host.
    pub async fn info(&self) -> Result<SystemInfo> {
        let config = &self.config;
        let support = self.cgroups.support();
        let count = self.count_containers();
        let (operating_system, os_version) = host::operating_system();
        let reloadable = self.reloadable();
        let registry = &reloadable.registry;
        Ok(SystemInfo {
            id: self.id.clone(),
            containers: count.all,
            containers_running: count.running,
            containers_paused: count.paused,
            containers_stopped: count.stopped,
            images: self.images.list().len() as i64,
            driver: "overlay2".to_owned(),
            driver_status: self.driver_status(),
            system_status: None,
            plugins: self.plugins_shown(),
            memory_limit: support.memory,
            swap_limit: support.swap,
            kernel_memory: support.kernel_memory,
            kernel_memory_tcp: support.kernel_memory,
            cpu_cfs_period: support.cpu_cfs,
            cpu_cfs_quota: support.cpu_cfs,
            cpu_shares: support.cpu_shares,
            cpu_set: support.cpuset,
            pids_limit: support.pids,
            ipv4_forwarding: host::ipv4_forwarding(),
            debug: reloadable.debug,
            n_fd: host::open_descriptors(),
            oom_kill_disable: support.oom_kill_disable,
            // The nearest thing to a goroutine here is a task of the runtime.
            n_goroutines: self.handle.metrics().num_alive_tasks() as i64,
            system_time: Timestamp::now().to_string(),
            logging_driver: config.log_driver.clone(),
            cgroup_driver: "cgroupfs".to_owned(),
            cgroup_version: support.version.to_string(),
            n_events_listener: self.events.listeners() as i64,
            kernel_version: host::kernel_release(),
            operating_system,
            os_version,
            os_type: "linux".to_owned(),
            architecture: host::kernel_arch().to_owned(),
            index_server_address: "https://index.docker.io/v1/".to_owned(),
            registry_config: registries::shown(registry),
            ncpu: host::processors(),
            mem_total: host::memory_total(),
            generic_resources: None,
            docker_root_dir: config.data_root.display().to_string(),
            http_proxy: registries::masked(&registry.http_proxy),
            https_proxy: registries::masked(&registry.https_proxy),
            no_proxy: registry.no_proxy.clone(),
            name: host::name(),
            labels: reloadable.labels,
            experimental_build: config.info.experimental,
            server_version: VERSION.to_owned(),
            runtimes: self.runtimes(),
            default_runtime: config.default_runtime.clone(),
            swarm: SwarmInfo::default(),
            live_restore_enabled: true,
            isolation: String::new(),
            init_binary: "built-in".to_owned(),
            containerd_commit: Commit::default(),
            runc_commit: Commit::default(),
            init_commit: Commit::default(),
            security_options: self.security_options(),
            product_license: String::new(),
            default_address_pools: None,
            firewall_backend: config
                .network
                .firewall
                .then(|| FirewallInfo { driver: "nftables".to_owned(), info: None }),
            cdi_spec_dirs: Vec::new(),
            discovered_devices: None,
            warnings: warnings(&support, &config.info.warnings),
        })
    }

    fn count_containers(&self) -> Count {
        let mut count = Count::default();
        for container in self.containers.all() {
            count.all += 1;
            match container.read().state.status {
                ContainerStatus::Running | ContainerStatus::Restarting => count.running += 1,
                ContainerStatus::Paused => count.paused += 1,
                _ => count.stopped += 1,
            }
        }
        count
    }

    fn runtimes(&self) -> BTreeMap<String, RuntimeInfo> {
        let built_in = RuntimeInfo { path: "built-in".to_owned(), ..RuntimeInfo::default() };
        let others = self.config.runtimes.iter().map(|(name, runtime)| {
            let args = (!runtime.args.is_empty()).then(|| runtime.args.clone());
            let path = runtime.path.display().to_string();
            (name.clone(), RuntimeInfo { path, runtime_args: args, ..RuntimeInfo::default() })
        });
        std::iter::once((RUNTIME.to_owned(), built_in)).chain(others).collect()
    }

    fn driver_status(&self) -> Vec<[String; 2]> {
        let row = |key: &str, value: String| [key.to_owned(), value];
        vec![
            row("Backing Filesystem", host::file_system(&self.config.data_root)),
            row("Supports d_type", "true".to_owned()),
            row("Native Overlay Diff", "true".to_owned()),
            row("userxattr", "false".to_owned()),
        ]
    }

    fn security_options(&self) -> Vec<String> {
        let seccomp = match self.config.seccomp_profile.as_deref() {
            None => "builtin",
            Some("unconfined") => "unconfined",
            Some(_) => "custom",
        };
        let (apparmor, selinux) = self.modules.names();
        let mut options: Vec<String> = apparmor.map(str::to_owned).into_iter().collect();
        options.push(format!("name=seccomp,profile={seccomp}"));
        options.extend(selinux.map(str::to_owned));
        if self.remap.is_some() {
            options.push("name=userns".to_owned());
        }
        if self.config.default_cgroupns_mode.as_deref() == Some("private") || self.cgroups.support().version == 2 {
            options.push("name=cgroupns".to_owned());
        }
        if self.config.no_new_privileges {
            options.push("name=no-new-privileges".to_owned());
        }
        options
    }
}

#[derive(Default)]
struct Count {
    all: i64,
    running: i64,
    paused: i64,
    stopped: i64,
}

impl Engine {
    /// The built-in drivers, and the plugins that were of use.
    fn plugins_shown(&self) -> PluginsInfo {
        let names = |list: &[&str], kind: Option<Kind>| {
            let known = kind.map(|kind| self.plugins.known(kind)).unwrap_or_default();
            let mut names: Vec<String> = list.iter().map(|n| (*n).to_owned()).chain(known).collect();
            names.sort();
            names
        };
        PluginsInfo {
            volume: names(&["local"], Some(Kind::Volume)),
            network: names(&["bridge", "host", "ipvlan", "macvlan", "null"], Some(Kind::Network)),
            authorization: None,
            log: names(&["fluentd", "gelf", "journald", "json-file", "local", "splunk", "syslog"], None),
        }
    }
}

/// What the kernel lacks, in Docker's words, which clients print as they come.
fn warnings(support: &Support, configured: &[String]) -> Option<Vec<String>> {
    let missing = [
        (support.memory, "WARNING: No memory limit support"),
        (!support.memory || support.swap, "WARNING: No swap limit support"),
        (support.cpu_cfs, "WARNING: No cpu cfs quota support"),
        (support.cpu_cfs, "WARNING: No cpu cfs period support"),
        (support.cpu_shares, "WARNING: No cpu shares support"),
        (support.cpuset, "WARNING: No cpuset support"),
        (support.pids, "WARNING: No pids limit support"),
        (support.blkio_throttle, "WARNING: No blkio throttle support"),
        (host::ipv4_forwarding(), "WARNING: IPv4 forwarding is disabled"),
    ];
    let missing = missing.iter().filter(|(there, _)| !there).map(|(_, text)| (*text).to_owned());
    let all: Vec<String> = configured.iter().cloned().chain(missing).collect();
    (!all.is_empty()).then_some(all)
}
