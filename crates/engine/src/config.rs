//! The daemon's configuration as the engine needs it: flags and `daemon.json` already merged.

pub use gantry_plugins::Directories as PluginDirectories;

use crate::oci::Runtime;
use gantry_model::IdMaps;
use gantry_network as network;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// Everything that is decided before the engine opens.
#[derive(Debug)]
pub struct Config {
    /// What must survive a reboot (`--data-root`).
    pub data_root: PathBuf,
    /// What lives as long as the containers run (`--exec-root`).
    pub exec_root: PathBuf,
    /// "" for the default data-root, otherwise six hex digits: keeps names of bridges, tables and
    /// cgroups of several daemons on one machine apart.
    pub instance: String,
    /// The sealed memfd with the shim's program.
    pub shim: OwnedFd,
    /// The daemon's own program, which is also that of log drivers.
    pub program: OwnedFd,
    /// The default bridge.
    pub network: network::Config,
    /// `--host-gateway-ip`: what `host-gateway` means; empty for the default bridge's gateways.
    pub host_gateways: Vec<IpAddr>,
    /// `--default-network-opt`: options of new networks, by driver.
    pub network_options: BTreeMap<String, BTreeMap<String, String>>,
    /// Parent cgroup (`--cgroup-parent`); `None` is `/gantry` or `/gantry-<instance>`.
    pub cgroup_parent: Option<String>,
    /// `--log-driver`.
    pub log_driver: String,
    /// `--log-opt`.
    pub log_opts: Vec<(String, String)>,
    /// `--default-ulimit`: (name, soft, hard).
    pub default_ulimits: Vec<(String, i64, i64)>,
    /// `--init`: run the built-in init in every container that does not say otherwise.
    pub init: bool,
    /// `--dns`, `--dns-search`, `--dns-opt`.
    pub dns: Vec<String>,
    /// See `dns`.
    pub dns_search: Vec<String>,
    /// See `dns`.
    pub dns_opts: Vec<String>,
    /// `--label`, `key=value`.
    pub labels: Vec<String>,
    /// `--no-new-privileges`.
    pub no_new_privileges: bool,
    /// `--default-shm-size` in bytes (64 MiB).
    pub shm_size: u64,
    /// `--default-ipc-mode`: `private` or `shareable`.
    pub default_ipc_mode: String,
    /// `--default-cgroupns-mode`: `private` or `host`; `None` is private on v2 and host on v1.
    pub default_cgroupns_mode: Option<String>,
    /// `--seccomp-profile`: text of a profile, `unconfined`, or `None` for the built-in one.
    pub seccomp_profile: Option<String>,
    /// `--userns-remap`: what the ids of containers are on the host; `None` leaves them as they are.
    pub remap: Option<IdMaps>,
    /// `--selinux-enabled`.
    pub selinux: bool,
    /// `--add-runtime`: other OCI runtimes by name.
    pub runtimes: BTreeMap<String, Runtime>,
    /// `--default-runtime`: one of them, or the built-in one, which clients know as `runc`.
    pub default_runtime: String,
    /// `--shutdown-timeout` in seconds; -1 waits.
    pub shutdown_timeout: i64,
    /// `-D`.
    pub debug: bool,
    /// Registries and how they are reached.
    pub registry: RegistryConfig,
    /// Where plugins are looked for.
    pub plugins: PluginDirectories,
    /// `builder.entitlements.security-insecure`: builds may run commands as privileged containers run.
    pub insecure_builds: bool,
    /// What `/info` shows of the listeners and registries.
    pub info: InfoConfig,
}

/// Registries, how they are reached, and how much at a time.
#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /// `--insecure-registry`: hosts and networks.
    pub insecure: Vec<String>,
    /// `--registry-mirror`: URLs.
    pub mirrors: Vec<String>,
    /// HTTP proxy.
    pub http_proxy: String,
    /// HTTPS proxy.
    pub https_proxy: String,
    /// Hosts reached without a proxy.
    pub no_proxy: String,
    /// Directories with a subdirectory of certificates for each `host[:port]`.
    pub certs_dirs: Vec<PathBuf>,
    /// The search index; empty for Docker's.
    pub index: String,
    /// `--max-concurrent-downloads`: layers.
    pub max_concurrent_downloads: usize,
    /// `--max-concurrent-uploads`: layers.
    pub max_concurrent_uploads: usize,
    /// `--max-download-attempts`: for each layer.
    pub max_download_attempts: u32,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            mirrors: Vec::new(),
            http_proxy: String::new(),
            https_proxy: String::new(),
            no_proxy: String::new(),
            certs_dirs: vec![PathBuf::from("/etc/docker/certs.d")],
            index: String::new(),
            max_concurrent_downloads: 3,
            max_concurrent_uploads: 5,
            max_download_attempts: 5,
        }
    }
}

impl RegistryConfig {
    /// The part that the registry client needs.
    pub(crate) fn client(&self) -> gantry_registry_client::Config {
        gantry_registry_client::Config {
            insecure: self.insecure.clone(),
            mirrors: self.mirrors.clone(),
            http_proxy: self.http_proxy.clone(),
            https_proxy: self.https_proxy.clone(),
            no_proxy: self.no_proxy.clone(),
            certs_dirs: self.certs_dirs.clone(),
            user_agent: format!("gantry/{} (linux)", env!("CARGO_PKG_VERSION")),
            index: self.index.clone(),
        }
    }
}

/// Facts that only `/info` and `/version` show.
#[derive(Debug, Clone, Default)]
pub struct InfoConfig {
    /// `--experimental`.
    pub experimental: bool,
    /// Warnings to show, e.g. an unauthenticated TCP listener.
    pub warnings: Vec<String>,
    /// Commit the binary was built from, if known.
    pub git_commit: String,
    /// When it was built.
    pub build_time: String,
}

/// What SIGHUP may change while the daemon runs.
#[derive(Debug, Clone, Default)]
pub struct Reloadable {
    /// `--label`.
    pub labels: Vec<String>,
    /// `-D`.
    pub debug: bool,
    /// Registries, their mirrors and the limits of transfers.
    pub registry: RegistryConfig,
}
