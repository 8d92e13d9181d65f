//! Every option that dockerd 20.10 to 29 knows.

use super::Shape::{Bool, Int, Ip, List, Pairs, PairsByName, Pools, Runtimes, Size, Switches, Text, Ulimits};
use super::Standing::{Foreign, Protective, Unserved, Used};
use super::{Opt, Shape, Standing};

const fn opt(
    flag: &'static str,
    short: Option<char>,
    key: &'static str,
    shape: Shape,
    standing: Standing,
    help: &'static str,
) -> Opt {
    Opt { flag, short, key, shape, standing, help }
}

/// The table; `--help` prints it in this order.
#[rustfmt::skip]
pub(crate) static OPTIONS: &[Opt] = &[
    opt("data-root", None, "data-root", Text, Used, "Directory of persistent state"),
    opt("graph", Some('g'), "graph", Text, Used, ""),
    opt("exec-root", None, "exec-root", Text, Used, "Directory of state that lives as long as the containers run"),
    opt("pidfile", Some('p'), "pidfile", Text, Used, "Path of the daemon's pid file"),
    opt("config-file", None, "", Text, Used, "Configuration file"),
    opt("validate", None, "", Bool, Used, "Check the configuration and exit"),
    opt("host", Some('H'), "hosts", List, Used, "Socket to listen on: unix://, tcp://, fd://"),
    opt("group", Some('G'), "group", Text, Used, "Group that may use the unix socket"),
    opt("tls", None, "tls", Bool, Used, "Use TLS on TCP; implied by --tlsverify"),
    opt("tlsverify", None, "tlsverify", Bool, Used, "Use TLS and demand a certificate from clients"),
    opt("tlscacert", None, "tlscacert", Text, Used, "Trust clients whose certificate this CA signed"),
    opt("tlscert", None, "tlscert", Text, Used, "The daemon's certificate"),
    opt("tlskey", None, "tlskey", Text, Used, "The daemon's private key"),
    opt("debug", Some('D'), "debug", Bool, Used, "Log at level debug"),
    opt("log-level", Some('l'), "log-level", Text, Used, "Least severe level that is logged: debug, info, warn, error, fatal"),
    opt("log-format", None, "log-format", Text, Used, "How the daemon logs: text or json"),
    opt("raw-logs", None, "raw-logs", Bool, Used, "Accepted; the log is never coloured"),
    opt("label", None, "labels", List, Used, "key=value label of the daemon"),
    opt("shutdown-timeout", None, "shutdown-timeout", Int, Used, "Seconds that requests under way get at shutdown"),
    opt("live-restore", None, "live-restore", Bool, Used, "Accepted; containers always outlive the daemon"),
    opt("oom-score-adjust", None, "oom-score-adjust", Int, Used, "oom_score_adj of the daemon"),
    opt("log-driver", None, "log-driver", Text, Used, "Default log driver: json-file, local, none, syslog, gelf, fluentd, splunk, journald"),
    opt("log-opt", None, "log-opts", Pairs, Used, "Default options of the log driver"),
    opt("init", None, "init", Bool, Used, "Run the built-in init in containers"),
    opt("cgroup-parent", None, "cgroup-parent", Text, Used, "Parent cgroup of all containers"),
    opt("default-cgroupns-mode", None, "default-cgroupns-mode", Text, Used, "Cgroup namespace of containers: host or private"),
    opt("default-ipc-mode", None, "default-ipc-mode", Text, Used, "IPC namespace of containers: shareable or private"),
    opt("default-shm-size", None, "default-shm-size", Size, Used, "Size of /dev/shm"),
    opt("default-ulimit", None, "default-ulimits", Ulimits, Used, "Default resource limit of containers"),
    opt("no-new-privileges", None, "no-new-privileges", Bool, Used, "Set no-new-privileges by default"),
    opt("seccomp-profile", None, "seccomp-profile", Text, Used, "Path of a seccomp profile, builtin, or unconfined"),
    opt("storage-driver", Some('s'), "storage-driver", Text, Used, "Storage driver: overlay2"),
    opt("exec-opt", None, "exec-opts", List, Used, "Runtime option: native.cgroupdriver=cgroupfs"),
    opt("bridge", Some('b'), "bridge", Text, Used, "Bridge of the default network; none for no network"),
    opt("bip", None, "bip", Text, Used, "IPv4 address of the default bridge, as a CIDR"),
    opt("mtu", None, "mtu", Int, Used, "MTU of the default bridge network"),
    opt("ip", None, "ip", Ip, Used, "Host address that ports are published on by default"),
    opt("icc", None, "icc", Bool, Used, "Containers on the default bridge may reach each other"),
    opt("ip-forward", None, "ip-forward", Bool, Used, "Switch on IP forwarding"),
    opt("ip-masq", None, "ip-masq", Bool, Used, "Masquerade what leaves the default bridge"),
    opt("iptables", None, "iptables", Bool, Used, "Add firewall rules (Gantry uses nftables)"),
    opt("userland-proxy", None, "userland-proxy", Bool, Used, "Relay published ports where the firewall cannot"),
    opt("fixed-cidr", None, "fixed-cidr", Text, Used, "IPv4 subnet that container addresses are taken from"),
    opt("default-gateway", None, "default-gateway", Ip, Used, "Default gateway of containers on the default bridge"),
    opt("dns", None, "dns", List, Used, "DNS server of containers"),
    opt("dns-opt", None, "dns-opts", List, Used, "resolv.conf option of containers"),
    opt("dns-search", None, "dns-search", List, Used, "DNS search domain of containers"),
    opt("experimental", None, "experimental", Bool, Used, "Shown in /info and /version"),
    opt("registry-mirror", None, "registry-mirrors", List, Used, "URL of a mirror of docker.io"),
    opt("insecure-registry", None, "insecure-registries", List, Used, "Registry, or network of registries, to use without TLS"),
    opt("max-concurrent-downloads", None, "max-concurrent-downloads", Int, Used, "Layers that are pulled at a time; 3"),
    opt("max-concurrent-uploads", None, "max-concurrent-uploads", Int, Used, "Layers that are pushed at a time; 5"),
    opt("max-download-attempts", None, "max-download-attempts", Int, Used, "How often each layer of a pull is tried; 5"),
    opt("search-index", None, "search-index", Text, Used, "URL of the index that image search asks (Gantry's own option)"),
    opt("plugin-sockets", None, "plugin-sockets", Text, Used, "Directory of plugins' sockets (Gantry's own option)"),
    opt("plugin-spec", None, "plugin-specs", List, Used, "Directory of plugins' addresses (Gantry's own option)"),
    opt("http-proxy", None, "http-proxy", Text, Used, "Proxy of the daemon for HTTP"),
    opt("https-proxy", None, "https-proxy", Text, Used, "Proxy of the daemon for HTTPS"),
    opt("no-proxy", None, "no-proxy", Text, Used, "Hosts that are reached without a proxy"),
    opt("add-runtime", None, "runtimes", Runtimes, Used, "Register another OCI runtime, name=path"),
    opt("default-runtime", None, "default-runtime", Text, Used, "OCI runtime of containers; runc is the built-in one"),
    opt("ipv6", None, "ipv6", Bool, Used, "IPv6 on the default bridge network"),
    opt("ip6tables", None, "ip6tables", Bool, Foreign, ""),
    opt("bip6", None, "bip6", Text, Used, "IPv6 address of the default bridge, as a CIDR"),
    opt("fixed-cidr-v6", None, "fixed-cidr-v6", Text, Used, "IPv6 subnet of the default bridge"),
    opt("default-gateway-v6", None, "default-gateway-v6", Ip, Used, "IPv6 default gateway of containers on the default bridge"),
    opt("default-address-pool", None, "default-address-pools", Pools, Used, "Address pool of new networks"),
    opt("default-network-opt", None, "default-network-opts", PairsByName, Used, "Options of new networks, as driver=key=value"),
    opt("host-gateway-ip", None, "host-gateway-ips", List, Used, "Address of host-gateway in --add-host, one of each family at most"),
    opt("", None, "host-gateway-ip", Ip, Used, ""),
    opt("allow-direct-routing", None, "allow-direct-routing", Bool, Used, "Published ports are open on containers' own addresses, too"),
    opt("bridge-accept-fwmark", None, "bridge-accept-fwmark", Text, Unserved, ""),
    opt("ip-forward-no-drop", None, "ip-forward-no-drop", Bool, Foreign, ""),
    opt("firewall-backend", None, "firewall-backend", Text, Used, "Accepted: nftables"),
    opt("userland-proxy-path", None, "userland-proxy-path", Text, Foreign, ""),
    opt("init-path", None, "init-path", Text, Foreign, ""),
    opt("", None, "default-init", Text, Foreign, ""),
    opt("network-control-plane-mtu", None, "network-control-plane-mtu", Int, Foreign, ""),
    opt("network-diagnostic-port", None, "network-diagnostic-port", Int, Unserved, ""),
    opt("storage-opt", None, "storage-opts", List, Unserved, ""),
    opt("cpu-rt-period", None, "cpu-rt-period", Int, Unserved, ""),
    opt("cpu-rt-runtime", None, "cpu-rt-runtime", Int, Unserved, ""),
    opt("selinux-enabled", None, "selinux-enabled", Bool, Used, "Label containers for SELinux, where the kernel has it"),
    opt("rootless", None, "rootless", Bool, Unserved, ""),
    opt("authorization-plugin", None, "authorization-plugins", List, Protective, ""),
    opt("userns-remap", None, "userns-remap", Text, Used, "User whose subordinate ids containers get: default, user, or user:group"),
    opt("metrics-addr", None, "metrics-addr", Text, Unserved, ""),
    opt("node-generic-resource", None, "node-generic-resources", List, Unserved, ""),
    opt("swarm-default-advertise-addr", None, "swarm-default-advertise-addr", Text, Unserved, ""),
    opt("", None, "swarm-raft-heartbeat-tick", Int, Unserved, ""),
    opt("", None, "swarm-raft-election-tick", Int, Unserved, ""),
    opt("cluster-advertise", None, "cluster-advertise", Text, Unserved, ""),
    opt("cluster-store", None, "cluster-store", Text, Unserved, ""),
    opt("cluster-store-opt", None, "cluster-store-opts", Pairs, Unserved, ""),
    opt("cdi-spec-dir", None, "cdi-spec-dirs", List, Unserved, ""),
    opt("feature", None, "features", Switches, Foreign, ""),
    opt("nri-opts", None, "nri-opts", Pairs, Unserved, ""),
    opt("api-cors-header", None, "api-cors-header", Text, Unserved, ""),
    opt("allow-nondistributable-artifacts", None, "allow-nondistributable-artifacts", List, Foreign, ""),
    opt("containerd", None, "containerd", Text, Foreign, ""),
    opt("containerd-namespace", None, "containerd-namespace", Text, Foreign, ""),
    opt("containerd-plugins-namespace", None, "containerd-plugins-namespace", Text, Foreign, ""),
    opt("", None, "containerd-plugin-namespace", Text, Foreign, ""),
    opt("cri-containerd", None, "cri-containerd", Bool, Foreign, ""),
    opt("restart", Some('r'), "", Bool, Foreign, ""),
    opt("", None, "resolv-conf", Text, Unserved, ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// What the page on configuration says of an option is what the table says.
    #[test]
    fn the_page_on_configuration() {
        let page = include_str!("../../../../docs/configuration.md");
        for row in page.lines().filter(|line| line.starts_with("| `")) {
            let mut cells = row.split('|').skip(1);
            let (names, says) = (cells.next().unwrap_or_default(), cells.collect::<String>());
            // Names are every other piece between backticks.
            for name in names.split('`').skip(1).step_by(2) {
                let name = name.trim_start_matches("--");
                let known: Vec<_> = OPTIONS.iter().filter(|o| o.flag == name || o.key == name).collect();
                assert!(!known.is_empty() || name.contains('/') || name.contains(' '), "no option {name:?}: {row}");
                for option in known {
                    let said = if says.contains("daemon does not start") {
                        Protective
                    } else if says.contains("not implemented yet") {
                        Unserved
                    } else if says.contains("without meaning") {
                        Foreign
                    } else {
                        Used
                    };
                    assert_eq!(option.standing, said, "{name}");
                }
            }
        }
    }
}
