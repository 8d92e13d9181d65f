//! The daemon's settings with their defaults, made of the merged flags and `daemon.json`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::options::{self, Given, OPTIONS, Standing};
use crate::personality::Personality;

/// What the user asked for. Absent options are at their defaults; the shapes were checked by
/// [`options`], so deserialisation cannot fail on them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct Settings {
    pub data_root: Option<PathBuf>,
    graph: Option<PathBuf>,
    pub exec_root: Option<PathBuf>,
    pub pidfile: Option<PathBuf>,
    pub hosts: Vec<String>,
    pub group: Option<String>,
    pub tls: Option<bool>,
    pub tlsverify: Option<bool>,
    pub tlscacert: Option<PathBuf>,
    pub tlscert: Option<PathBuf>,
    pub tlskey: Option<PathBuf>,
    pub debug: bool,
    pub log_level: Option<String>,
    pub log_format: Option<String>,
    pub labels: Vec<String>,
    pub shutdown_timeout: Option<i64>,
    pub oom_score_adjust: Option<i64>,
    pub log_driver: Option<String>,
    pub log_opts: BTreeMap<String, String>,
    pub init: bool,
    pub cgroup_parent: Option<String>,
    pub default_cgroupns_mode: Option<String>,
    pub default_ipc_mode: Option<String>,
    pub default_shm_size: Option<u64>,
    pub default_ulimits: BTreeMap<String, Ulimit>,
    pub no_new_privileges: bool,
    pub seccomp_profile: Option<String>,
    pub userns_remap: Option<String>,
    pub selinux_enabled: bool,
    pub runtimes: BTreeMap<String, Runtime>,
    /// From within `builder`.
    pub insecure_builds: bool,
    pub default_runtime: Option<String>,
    storage_driver: Option<String>,
    exec_opts: Vec<String>,
    firewall_backend: Option<String>,
    pub bridge: Option<String>,
    pub bip: Option<String>,
    pub mtu: Option<u32>,
    pub ip: Option<String>,
    pub icc: Option<bool>,
    pub ip_forward: Option<bool>,
    pub ip_masq: Option<bool>,
    pub iptables: Option<bool>,
    pub userland_proxy: Option<bool>,
    pub fixed_cidr: Option<String>,
    pub default_gateway: Option<String>,
    pub ipv6: Option<bool>,
    pub fixed_cidr_v6: Option<String>,
    pub default_gateway_v6: Option<String>,
    pub bip6: Option<String>,
    pub allow_direct_routing: bool,
    pub host_gateway_ips: Vec<String>,
    /// What 20.10 called it.
    pub host_gateway_ip: Option<String>,
    pub default_address_pools: Vec<Pool>,
    pub default_network_opts: BTreeMap<String, BTreeMap<String, String>>,
    pub dns: Vec<String>,
    pub dns_opts: Vec<String>,
    pub dns_search: Vec<String>,
    pub experimental: bool,
    pub registry_mirrors: Vec<String>,
    pub insecure_registries: Vec<String>,
    pub http_proxy: Option<String>,
    pub https_proxy: Option<String>,
    pub no_proxy: Option<String>,
    pub max_concurrent_downloads: Option<i64>,
    pub max_concurrent_uploads: Option<i64>,
    pub max_download_attempts: Option<i64>,
    pub search_index: Option<String>,
    pub plugin_sockets: Option<PathBuf>,
    pub plugin_specs: Vec<PathBuf>,
    /// Lines for the log about options that do nothing here; not an option itself.
    #[serde(skip)]
    pub remarks: Vec<Remark>,
}

/// One default limit.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Ulimit {
    #[serde(rename = "Soft")]
    pub soft: i64,
    #[serde(rename = "Hard")]
    pub hard: i64,
}

/// Another OCI runtime.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Runtime {
    pub path: PathBuf,
    pub runtime_args: Vec<String>,
}

/// One range that networks are cut from.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Pool {
    pub base: String,
    pub size: u8,
}

/// Something to say about an option once logging works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remark {
    /// Of interest to whoever debugs.
    Debug(String),
    /// The user should know.
    Warning(String),
}

impl Settings {
    /// Merges the command line with the configuration file and checks the result.
    pub(crate) fn load(given: &Given, personality: Personality) -> Result<Self> {
        let named = given.get("config-file").and_then(|v| v.as_str());
        let path = PathBuf::from(named.unwrap_or(personality.config_file()));
        let unusable = || format!("unable to configure the Docker daemon with file {}", path.display());
        let file = match options::read(&path) {
            // Only a file that the user named must exist.
            Err(options::OptionError::Io(e)) if named.is_none() && e.kind() == std::io::ErrorKind::NotFound => {
                serde_json::Map::new()
            }
            read => read.with_context(unusable)?,
        };
        let merged = options::merge(file, given).with_context(unusable)?;
        let remarks = remarks(&merged, given)?;
        let mut settings: Self = serde_json::from_value(merged.into()).with_context(unusable)?;
        settings.remarks = remarks;
        settings.validate()?;
        settings.normalise_registries()?;
        Ok(settings)
    }

    /// `--data-root`, or its old name.
    pub(crate) fn data_root(&self) -> PathBuf {
        self.data_root.clone().or_else(|| self.graph.clone()).unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_ROOT))
    }

    fn validate(&self) -> Result<()> {
        if let Some(level) = &self.log_level
            && !["panic", "fatal", "error", "warn", "info", "debug", "trace"].contains(&level.to_lowercase().as_str())
        {
            bail!("invalid logging level: {level}");
        }
        one_of("log-format", self.log_format.as_deref(), &["text", "json"])?;
        one_of("log-driver", self.log_driver.as_deref(), &["json-file", "local", "none"])?;
        one_of("storage-driver", self.storage_driver.as_deref(), &["", "overlay2", "overlayfs", "overlay"])?;
        one_of("firewall-backend", self.firewall_backend.as_deref(), &["", "nftables", "iptables"])?;
        one_of("default-ipc-mode", self.default_ipc_mode.as_deref(), &["private", "shareable"])?;
        one_of("default-cgroupns-mode", self.default_cgroupns_mode.as_deref(), &["private", "host"])?;
        for label in &self.labels {
            if !label.contains('=') {
                bail!("bad attribute format: {label}");
            }
        }
        for option in &self.exec_opts {
            validate_exec_opt(option)?;
        }
        for server in &self.dns {
            if server.parse::<std::net::IpAddr>().is_err() {
                bail!("dns: {server} is not an ip address");
            }
        }
        let given = |option: &Option<String>| option.as_deref().is_some_and(|text| !text.is_empty());
        for (name, option) in [("--bip", &self.bip), ("--bip6", &self.bip6)] {
            if given(&self.bridge) && given(option) {
                bail!("You specified -b & {name}, mutually exclusive options. Please specify only one");
            }
        }
        if self.oom_score_adjust.is_some_and(|score| !(-1000..=1000).contains(&score)) {
            bail!("oom-score-adjust: the value must lie between -1000 and 1000");
        }
        Ok(())
    }
}

/// The data-root when nobody names one.
pub(crate) const DEFAULT_DATA_ROOT: &str = "/var/lib/gantry";

fn one_of(key: &str, value: Option<&str>, known: &[&str]) -> Result<()> {
    match value {
        Some(value) if !known.contains(&value) => {
            let known: Vec<&str> = known.iter().copied().filter(|word| !word.is_empty()).collect();
            bail!("{key}: {value:?} is not supported; use one of {}", known.join(", "))
        }
        _ => Ok(()),
    }
}

fn validate_exec_opt(option: &str) -> Result<()> {
    match option.split_once('=') {
        Some(("native.cgroupdriver", "cgroupfs")) => Ok(()),
        Some(("native.cgroupdriver", other)) => {
            bail!("exec-opt native.cgroupdriver={other} is not supported: Gantry manages cgroups itself (cgroupfs)")
        }
        Some(_) => bail!("invalid exec-opt ({option}): unknown option"),
        None => bail!("invalid exec-opt ({option}): must be formatted 'opt=value'"),
    }
}

/// Says what is ignored, and refuses what must not be.
fn remarks(merged: &serde_json::Map<String, serde_json::Value>, given: &Given) -> Result<Vec<Remark>> {
    let mut remarks = Vec::new();
    for opt in OPTIONS {
        let set = merged.get(opt.key).or_else(|| given.get(opt.flag)).is_some_and(|value| !is_nothing(value));
        if !set {
            continue;
        }
        let name = if given.contains_key(opt.flag) { format!("--{}", opt.flag) } else { opt.key.to_owned() };
        match opt.standing {
            Standing::Used => {}
            Standing::Foreign => {
                remarks.push(Remark::Debug(format!("{name} has no meaning for Gantry and is ignored")));
            }
            Standing::Unserved => {
                remarks.push(Remark::Warning(format!("{name} is not implemented by Gantry yet and has no effect")));
            }
            Standing::Protective => bail!(
                "{name} is not implemented by Gantry yet; it protects this machine, so the daemon does not start without it"
            ),
        }
    }
    Ok(remarks)
}

/// Values that ask for nothing: `--ipv6=false`, an empty list in the file.
fn is_nothing(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Null => true,
        serde_json::Value::Bool(on) => !on,
        serde_json::Value::Number(n) => n.as_i64() == Some(0),
        serde_json::Value::String(text) => text.is_empty(),
        serde_json::Value::Array(list) => list.is_empty(),
        serde_json::Value::Object(map) => map.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(line: &str, file: Option<&str>) -> Result<Settings> {
        let mut args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let holder = tempfile::NamedTempFile::new().expect("a temporary file");
        if let Some(text) = file {
            std::fs::write(holder.path(), text).expect("a temporary file can be written");
            args.push(format!("--config-file={}", holder.path().display()));
        } else {
            args.push("--config-file=/dev/null".to_owned());
        }
        Settings::load(&options::parse(&args)?, Personality::Gantry)
    }

    fn error(line: &str, file: Option<&str>) -> String {
        format!("{:#}", load(line, file).expect_err(line))
    }

    #[test]
    fn the_seeds_file_gives_its_host() {
        let settings = load("-D", Some(r#"{"hosts": ["unix:///var/run/docker.sock"]}"#)).unwrap();
        assert_eq!(settings.hosts, ["unix:///var/run/docker.sock"]);
        assert!(settings.debug && settings.remarks.is_empty());
        assert_eq!(settings.data_root(), PathBuf::from("/var/lib/gantry"));
    }

    #[test]
    fn says_what_does_nothing() {
        let settings = load("--containerd=/run/c.sock --metrics-addr=:1 --ipv6=false", None).unwrap();
        assert_eq!(
            settings.remarks,
            [
                Remark::Warning("--metrics-addr is not implemented by Gantry yet and has no effect".into()),
                Remark::Debug("--containerd has no meaning for Gantry and is ignored".into()),
            ]
        );
    }

    #[test]
    fn does_not_start_without_a_protection_that_was_asked_for() {
        assert!(error("", Some(r#"{"authorization-plugins": ["x"]}"#)).contains("authorization-plugins is not"));
        assert!(load("", Some(r#"{"authorization-plugins": []}"#)).is_ok());
    }

    #[test]
    fn refuses_values_that_mean_nothing() {
        assert!(error("-l loud", None).contains("invalid logging level: loud"));
        assert!(error("-s btrfs", None).contains("storage-driver: \"btrfs\" is not supported"));
        assert!(error("--label x", None).contains("bad attribute format: x"));
        assert!(error("--exec-opt native.cgroupdriver=systemd", None).contains("cgroupfs"));
        assert!(error("--dns here", None).contains("here is not an ip address"));
        assert!(error("--bridge br0 --bip 10.0.0.1/24", None).contains("mutually exclusive"));
        let missing = options::parse(&["--config-file=/nowhere/daemon.json".to_owned()]).unwrap();
        let error = Settings::load(&missing, Personality::Gantry).unwrap_err().to_string();
        assert_eq!(error, "unable to configure the Docker daemon with file /nowhere/daemon.json");
    }
}
