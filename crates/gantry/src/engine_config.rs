//! From the user's settings to the configuration of the engine and the network.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use gantry_engine::Runtime;
use gantry_engine::config::{Config, InfoConfig, RegistryConfig, Reloadable};
use gantry_network::{AddressPool, BridgeChoice, Net};

use crate::remap;
use crate::settings::{DEFAULT_DATA_ROOT, Settings};

/// Where containers' sockets and the like are when nobody says.
const DEFAULT_EXEC_ROOT: &str = "/run/gantry";

/// The two roots, made and canonical.
#[derive(Debug)]
pub(crate) struct Roots {
    /// What survives a reboot.
    pub data: PathBuf,
    /// What does not.
    pub exec: PathBuf,
    /// "" for the default data-root, else six hex digits that tell its names from other daemons'.
    pub instance: String,
}

impl Roots {
    /// Makes the directories.
    pub(crate) fn make(settings: &Settings) -> Result<Self> {
        let data = make_dir(&settings.data_root())?;
        let instance = instance(&data);
        let exec = settings.exec_root.clone().unwrap_or_else(|| match instance.as_str() {
            "" => PathBuf::from(DEFAULT_EXEC_ROOT),
            // Side by side with another daemon, and no --exec-root: not the same directory.
            instance => PathBuf::from(format!("{DEFAULT_EXEC_ROOT}-{instance}")),
        });
        Ok(Self { exec: make_dir(&exec)?, data, instance })
    }
}

/// Everyone may pass through (bind-mounted volumes are reached by users in containers), root lists.
fn make_dir(path: &Path) -> Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(path)
        .and_then(|()| path.canonicalize())
        .with_context(|| format!("making the directory {}", path.display()))
}

fn instance(data_root: &Path) -> String {
    if Path::new(DEFAULT_DATA_ROOT).canonicalize().is_ok_and(|default| default == data_root) {
        return String::new();
    }
    // FNV-1a: the names must stay the same from one version of the daemon to the next, or containers
    // that run would lose their bridge, and the standard library promises that of no hash of its own.
    let hash =
        data_root.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    format!("{:06x}", hash >> 40)
}

/// Checks what [`build`] would check, without touching the machine.
pub(crate) fn check(settings: &Settings) -> Result<()> {
    network(settings, "")?;
    host_gateways(settings)?;
    seccomp_profile(settings)?;
    runtimes(settings)?;
    default_runtime(settings)?;
    Ok(())
}

/// The engine's configuration.
pub(crate) fn build(
    settings: &Settings,
    roots: &Roots,
    shim: OwnedFd,
    program: OwnedFd,
    warnings: Vec<String>,
) -> Result<Config> {
    let limits = settings.default_ulimits.iter().map(|(name, limit)| (name.clone(), limit.soft, limit.hard));
    Ok(Config {
        data_root: roots.data.clone(),
        exec_root: roots.exec.clone(),
        instance: roots.instance.clone(),
        shim,
        program,
        network: network(settings, &roots.instance)?,
        host_gateways: host_gateways(settings)?,
        network_options: settings.default_network_opts.clone(),
        cgroup_parent: settings.cgroup_parent.clone().filter(|parent| !parent.is_empty()),
        log_driver: settings.log_driver.clone().unwrap_or_else(|| "json-file".to_owned()),
        log_opts: settings.log_opts.clone().into_iter().collect(),
        default_ulimits: limits.collect(),
        init: settings.init,
        dns: settings.dns.clone(),
        dns_search: settings.dns_search.clone(),
        dns_opts: settings.dns_opts.clone(),
        labels: settings.labels.clone(),
        no_new_privileges: settings.no_new_privileges,
        shm_size: settings.default_shm_size.filter(|&size| size > 0).unwrap_or(64 << 20),
        default_ipc_mode: settings.default_ipc_mode.clone().unwrap_or_else(|| "private".to_owned()),
        default_cgroupns_mode: settings.default_cgroupns_mode.clone(),
        seccomp_profile: seccomp_profile(settings)?,
        selinux: settings.selinux_enabled,
        runtimes: runtimes(settings)?,
        default_runtime: default_runtime(settings)?,
        remap: remap::of_setting(settings.userns_remap.as_deref().unwrap_or_default())?,
        shutdown_timeout: settings.shutdown_timeout.unwrap_or(15),
        debug: settings.debug,
        registry: registry(settings),
        plugins: plugins(settings),
        insecure_builds: settings.insecure_builds,
        info: InfoConfig {
            experimental: settings.experimental,
            warnings,
            git_commit: crate::COMMIT.to_owned(),
            build_time: String::new(),
        },
    })
}

/// What SIGHUP may change.
pub(crate) fn reloadable(settings: Settings) -> Reloadable {
    Reloadable { registry: registry(&settings), debug: settings.debug, labels: settings.labels }
}

/// Certificates are looked for where Docker's administrators put them, and in a place of Gantry's own before.
const CERTS_DIRS: [&str; 2] = ["/etc/gantry/certs.d", "/etc/docker/certs.d"];

/// What is said about registries.
fn registry(settings: &Settings) -> RegistryConfig {
    let proxies = settings.proxies();
    RegistryConfig {
        insecure: settings.insecure_registries.clone(),
        mirrors: settings.registry_mirrors.clone(),
        http_proxy: proxies.http,
        https_proxy: proxies.https,
        no_proxy: proxies.none,
        certs_dirs: CERTS_DIRS.map(PathBuf::from).to_vec(),
        index: settings.search_index.clone().unwrap_or_default(),
        max_concurrent_downloads: settings.concurrent_downloads(),
        max_concurrent_uploads: settings.concurrent_uploads(),
        max_download_attempts: settings.download_attempts(),
    }
}

/// The name of the built-in runtime, which nobody else may have.
const BUILT_IN: &str = "runc";

fn runtimes(settings: &Settings) -> Result<BTreeMap<String, Runtime>> {
    let one = |(name, runtime): (&String, &crate::settings::Runtime)| {
        anyhow::ensure!(name != BUILT_IN, "runtime name '{BUILT_IN}' is reserved");
        anyhow::ensure!(!runtime.path.as_os_str().is_empty(), "runtime {name}: 'path' is missing");
        Ok((name.clone(), Runtime { path: runtime.path.clone(), args: runtime.runtime_args.clone() }))
    };
    settings.runtimes.iter().map(one).collect()
}

fn default_runtime(settings: &Settings) -> Result<String> {
    let name = settings.default_runtime.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| BUILT_IN.to_owned());
    anyhow::ensure!(
        name == BUILT_IN || settings.runtimes.contains_key(&name),
        "specified default runtime '{name}' does not exist"
    );
    Ok(name)
}

/// Where plugins put themselves: Docker's places, if nobody says otherwise.
fn plugins(settings: &Settings) -> gantry_engine::config::PluginDirectories {
    let defaults = gantry_engine::config::PluginDirectories::default();
    gantry_engine::config::PluginDirectories {
        sockets: settings.plugin_sockets.clone().unwrap_or(defaults.sockets),
        specs: if settings.plugin_specs.is_empty() { defaults.specs } else { settings.plugin_specs.clone() },
    }
}

fn seccomp_profile(settings: &Settings) -> Result<Option<String>> {
    match settings.seccomp_profile.as_deref() {
        None | Some("" | "builtin") => Ok(None),
        Some("unconfined") => Ok(Some("unconfined".to_owned())),
        Some(path) => {
            std::fs::read_to_string(path).map(Some).with_context(|| format!("opening seccomp profile ({path}) failed"))
        }
    }
}

fn network(settings: &Settings, instance: &str) -> Result<gantry_network::Config> {
    let defaults = gantry_network::Config::default();
    let present = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    Ok(gantry_network::Config {
        instance: instance.to_owned(),
        bridge: match present(&settings.bridge).as_deref() {
            None => BridgeChoice::Own,
            Some("none") => BridgeChoice::Disabled,
            Some(name) => BridgeChoice::Existing(name.to_owned()),
        },
        bip: present(&settings.bip).map(|text| cidr_v4("bip", &text)).transpose()?,
        fixed_cidr: present(&settings.fixed_cidr).map(|text| cidr_v4("fixed-cidr", &text)).transpose()?,
        default_gateway: present(&settings.default_gateway)
            .map(|text| text.parse().with_context(|| format!("default-gateway: {text:?} is not an IPv4 address")))
            .transpose()?,
        ipv6: settings.ipv6.unwrap_or(false),
        fixed_cidr_v6: present(&settings.fixed_cidr_v6).map(|text| cidr_v6(&text)).transpose()?,
        default_gateway_v6: present(&settings.default_gateway_v6)
            .map(|text| text.parse().with_context(|| format!("default-gateway-v6: {text:?} is not an IPv6 address")))
            .transpose()?,
        bip6: present(&settings.bip6).map(|text| bip6(&text)).transpose()?,
        direct_routing: settings.allow_direct_routing,
        mtu: settings.mtu.filter(|&mtu| mtu > 0).unwrap_or(defaults.mtu),
        firewall: settings.iptables.unwrap_or(true),
        forwarders: settings.userland_proxy.unwrap_or(true),
        ip_forward: settings.ip_forward.unwrap_or(true),
        ip_masq: settings.ip_masq.unwrap_or(true),
        icc: settings.icc.unwrap_or(true),
        default_bind_ip: match present(&settings.ip) {
            None => defaults.default_bind_ip,
            Some(text) => text.parse().with_context(|| format!("ip: {text:?} is not an IP address"))?,
        },
        address_pools: settings.default_address_pools.iter().map(pool).collect::<Result<_>>()?,
    })
}

/// Where the name `host-gateway` leads to; empty for the default bridge's gateways.
fn host_gateways(settings: &Settings) -> Result<Vec<IpAddr>> {
    let old = settings.host_gateway_ip.iter().filter(|text| !text.is_empty());
    let parse = |text: &String| -> Result<IpAddr> {
        text.parse().with_context(|| format!("host-gateway-ips: {text:?} is not an IP address"))
    };
    let all = settings.host_gateway_ips.iter().chain(old).map(parse).collect::<Result<Vec<_>>>()?;
    if all.iter().filter(|ip| ip.is_ipv4()).count() > 1 || all.iter().filter(|ip| ip.is_ipv6()).count() > 1 {
        bail!("only one IPv4 and one IPv6 host gateway IP address can be specified");
    }
    Ok(all)
}

fn cidr_v6(text: &str) -> Result<Net> {
    let net = text.parse().ok().filter(|net: &Net| !net.is_ipv4());
    net.with_context(|| format!("fixed-cidr-v6: {text:?} is not an IPv6 network like fd00:1::/64"))
}

fn pool(pool: &crate::settings::Pool) -> Result<AddressPool> {
    let base: Net =
        pool.base.parse().with_context(|| format!("default-address-pools: {:?} is no network", pool.base))?;
    let longest = if base.is_ipv4() { 30 } else { 126 };
    if pool.size < base.prefix_len() || pool.size > longest {
        bail!("default-address-pools: the size {} does not cut {} into networks", pool.size, pool.base);
    }
    Ok(AddressPool { base, size: pool.size })
}

/// The address of a host with the length of its network's prefix, at most `longest`.
fn cidr<A: FromStr>(key: &str, text: &str, longest: u8, like: &str) -> Result<(A, u8)> {
    let parsed = text.split_once('/').and_then(|(address, bits)| {
        let bits: u8 = bits.parse().ok().filter(|&bits| bits <= longest)?;
        Some((address.parse().ok()?, bits))
    });
    parsed.with_context(|| format!("{key}: {text:?} is not an {like}"))
}

fn cidr_v4(key: &str, text: &str) -> Result<(Ipv4Addr, u8)> {
    cidr(key, text, 32, "IPv4 network like 10.0.0.1/24")
}

fn bip6(text: &str) -> Result<(Ipv6Addr, u8)> {
    cidr("bip6", text, 128, "IPv6 network like fd00:1::1/64")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemons_with_other_roots_have_other_names() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (instance(&dir.path().join("a")), instance(&dir.path().join("b")));
        assert_ne!(a, b);
        assert!(a.len() == 6 && a.chars().all(|c| c.is_ascii_hexdigit()), "{a}");
        // A promise to containers that run across an upgrade.
        assert_eq!(instance(Path::new("/srv/gantry-test")), "df1ff9");
    }

    #[test]
    fn reads_networks() {
        assert_eq!(cidr_v4("bip", "10.1.2.3/24").unwrap(), (Ipv4Addr::new(10, 1, 2, 3), 24));
        for bad in ["10.1.2.3", "10.1.2.3/33", "x/8", "::1/64"] {
            assert!(cidr_v4("bip", bad).unwrap_err().to_string().starts_with("bip: "), "{bad}");
        }
        assert_eq!(bip6("fd00::1/64").unwrap(), ("fd00::1".parse().unwrap(), 64));
        for bad in ["fd00::1", "fd00::1/129", "x/64", "10.0.0.1/24"] {
            assert!(bip6(bad).unwrap_err().to_string().starts_with("bip6: "), "{bad}");
        }
    }

    #[test]
    fn the_hosts_gateway_has_an_address_of_each_family_at_most() {
        let of = |ips: &[&str], old: Option<&str>| {
            let mut settings = Settings::default();
            settings.host_gateway_ips = ips.iter().map(|ip| (*ip).to_owned()).collect();
            settings.host_gateway_ip = old.map(Into::into);
            host_gateways(&settings)
        };
        assert_eq!(of(&["10.1.1.1", "fd00::1"], None).unwrap().len(), 2);
        assert_eq!(of(&[], Some("10.1.1.1")).unwrap(), ["10.1.1.1".parse::<IpAddr>().unwrap()]);
        assert!(of(&["10.1.1.1"], Some("10.1.1.2")).is_err() && of(&["x"], None).is_err());
    }
}
