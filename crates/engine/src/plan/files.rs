//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`, written anew at every start.

use super::network::{self, NetworkMode, Predefined};
use crate::Engine;
use crate::container::Record;
use crate::links::{self, Live};
use crate::networks::members::{Attached, Member};
use gantry_model::Result;
use gantry_model::error::Context;
use std::fmt::Write;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

const HOSTS: &str = "127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::0\tip6-localnet\n\
    ff00::0\tip6-mcastprefix\n\
    ff02::1\tip6-allnodes\n\
    ff02::2\tip6-allrouters\n";

/// The host's own file.
pub(crate) const HOST_RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where a host's resolver keeps the true servers when `/etc/resolv.conf` names only itself.
pub(crate) const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// Docker's servers for a host whose own cannot be reached from a container.
const FALLBACK: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

/// The name server of containers on networks that clients have made; it answers inside their network namespaces.
const OWN_SERVER: &str = "127.0.0.11";

/// Writes the files below the container's data directory. A container that shares another one's
/// network uses that one's files.
pub(crate) fn write(engine: &Engine, record: &Record, attached: &Attached, links: &[Live]) -> Result<()> {
    let mode = network::mode(record);
    if matches!(mode, NetworkMode::Container(_)) {
        return Ok(());
    }
    let dirs = engine.dirs(&record.id);
    let host = mode == NetworkMode::Host;
    put(&dirs.hostname(), &format!("{}\n", record.config.hostname))?;
    put(&dirs.hosts(), &hosts(record, attached, host, &host_gateways(engine), links))?;
    let source = if needs_names(attached) { Source::OwnServer } else { Source::of(host) };
    put(&dirs.resolv_conf(), &resolv_conf(&Resolver::of(engine, record), source))
}

/// A running container has joined a network: it learns its address there, and asks our name server from now on if the
/// network is one of names.
pub(crate) fn member_joined(engine: &Engine, record: &Record, attached: &Attached, member: &Member) -> Result<()> {
    let dirs = engine.dirs(&record.id);
    crate::links::append_host_lines(&dirs.hosts(), &own_lines(record, member)).context(dirs.hosts().display())?;
    if needs_names(attached) && !needs_names(&record.attached) {
        put(&dirs.resolv_conf(), &resolv_conf(&Resolver::of(engine, record), Source::OwnServer))?;
    }
    Ok(())
}

/// A running container has left a network. Its name server stays: whoever has read the file goes on asking it.
pub(crate) fn member_left(engine: &Engine, record: &Record, member: &Member) -> Result<()> {
    let hosts = engine.dirs(&record.id).hosts();
    crate::links::remove_host_lines(&hosts, &own_lines(record, member)).context(hosts.display())
}

/// Whether one of the networks has names.
pub(crate) fn needs_names(attached: &Attached) -> bool {
    attached.members.iter().any(|member| member.name != Predefined::Bridge.name())
}

/// Where a container's questions go beyond the names of its networks.
#[derive(Debug)]
pub(crate) struct NameServers {
    /// As `resolv.conf` would have them.
    pub(crate) servers: Vec<String>,
    /// Whether they are the host's, and not the container's or the daemon's choice.
    pub(crate) of_host: bool,
    /// Whether the container completes names without a dot itself.
    pub(crate) ndots: bool,
}

/// What is behind the name server of a container that has one of ours.
pub(crate) fn upstream(engine: &Engine, record: &Record) -> NameServers {
    let wanted = Resolver::of(engine, record);
    let host = host_resolv_conf();
    let of_host = wanted.servers.is_empty();
    let mut servers = if of_host { words(&host, "nameserver") } else { wanted.servers };
    if servers.is_empty() {
        servers = FALLBACK.map(str::to_owned).into();
    }
    let options = if wanted.options.is_empty() { words(&host, "options") } else { wanted.options };
    let ndots =
        options.iter().filter_map(|option| option.strip_prefix("ndots:")).any(|n| n.parse().is_ok_and(|n: u32| n > 0));
    NameServers { servers, of_host, ndots }
}

/// What `host-gateway` means.
fn host_gateways(engine: &Engine) -> Vec<String> {
    let configured = &engine.config.host_gateways;
    let addresses = if configured.is_empty() {
        let bridge = engine.network.default_bridge();
        bridge.iter().flat_map(|bridge| &bridge.subnets).filter_map(|subnet| subnet.gateway).collect()
    } else {
        configured.clone()
    };
    addresses.iter().map(ToString::to_string).collect()
}

/// In place: a running container has the file itself mounted, not its name.
fn put(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(path)
        .context(path.display())?;
    file.write_all(text.as_bytes()).context(path.display())?;
    // Whatever the daemon's umask is: every user of the container reads them.
    file.set_permissions(fs::Permissions::from_mode(0o644)).context(path.display())
}

fn hosts(record: &Record, attached: &Attached, host: bool, gateways: &[String], links: &[Live]) -> String {
    let mut text = match fs::read_to_string("/etc/hosts") {
        Ok(text) if host => text,
        _ => HOSTS.to_owned(),
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    for extra in record.host_config.extra_hosts.iter().flatten() {
        // Checked when the container was created.
        let Some((name, address)) = extra.split_once(':').or_else(|| extra.split_once('=')) else { continue };
        if address == "host-gateway" {
            for gateway in gateways {
                let _ = writeln!(text, "{gateway}\t{name}");
            }
        } else {
            let _ = writeln!(text, "{}\t{name}", address.trim_matches(['[', ']']));
        }
    }
    text.push_str(&links::host_lines(links));
    for member in &attached.members {
        text.push_str(&own_lines(record, member));
    }
    text
}

/// The container's own name at its addresses on a network.
fn own_lines(record: &Record, member: &Member) -> String {
    let addresses = [member.endpoint.ipv4.map(|a| IpAddr::V4(a.0)), member.endpoint.ipv6.map(|a| IpAddr::V6(a.0))];
    let names = host_names(record);
    addresses.into_iter().flatten().fold(String::new(), |mut text, ip| {
        let _ = writeln!(text, "{ip}\t{names}");
        text
    })
}

/// The full name first, then its first part.
fn host_names(record: &Record) -> String {
    let config = &record.config;
    let full = match config.domainname.as_str() {
        "" => config.hostname.clone(),
        domain => format!("{}.{domain}", config.hostname),
    };
    match full.split_once('.') {
        Some((short, _)) => format!("{full} {short}"),
        None => full,
    }
}

/// What the container or else the daemon says about name resolution; empty leaves it to the host's file.
struct Resolver {
    servers: Vec<String>,
    search: Vec<String>,
    options: Vec<String>,
}

impl Resolver {
    fn of(engine: &Engine, record: &Record) -> Self {
        let choose = |own: &Option<Vec<String>>, daemon: &[String]| match own.as_deref() {
            Some(own) if !own.is_empty() => own.to_vec(),
            _ => daemon.to_vec(),
        };
        let (host, config) = (&record.host_config, &engine.config);
        Self {
            servers: choose(&host.dns, &config.dns),
            search: choose(&host.dns_search, &config.dns_search),
            options: choose(&host.dns_options, &config.dns_opts),
        }
    }
}

/// Whose questions go where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// In the host's network namespace: to whom the host asks.
    Host,
    /// To the host's servers that can be reached from elsewhere.
    Reachable,
    /// To ours.
    OwnServer,
}

impl Source {
    const fn of(host: bool) -> Self {
        if host { Self::Host } else { Self::Reachable }
    }
}

fn resolv_conf(wanted: &Resolver, source: Source) -> String {
    let text = match source {
        Source::Host => fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
        Source::Reachable | Source::OwnServer => host_resolv_conf(),
    };
    build_resolv_conf(&text, wanted, source)
}

/// The host's file with the true servers.
pub(crate) fn host_resolv_conf() -> String {
    let text = fs::read_to_string(HOST_RESOLV_CONF).unwrap_or_default();
    // The stub on 127.0.0.53 cannot be reached from another network namespace.
    let servers = words(&text, "nameserver");
    if servers.len() == 1 && servers[0] == "127.0.0.53" { fs::read_to_string(RESOLVED).unwrap_or(text) } else { text }
}

fn build_resolv_conf(text: &str, wanted: &Resolver, source: Source) -> String {
    let Resolver { servers, search, options } = wanted;
    let host = source == Source::Host;
    if host && servers.is_empty() && search.is_empty() && options.is_empty() {
        return text.to_owned();
    }
    let choose = |own: &[String], key: &str| if own.is_empty() { words(text, key) } else { own.to_vec() };
    let mut servers = choose(servers, "nameserver");
    if source == Source::OwnServer {
        servers = vec![OWN_SERVER.to_owned()];
    } else if wanted.servers.is_empty() && !host {
        servers.retain(|s| !is_loopback(s));
        if servers.is_empty() {
            servers = FALLBACK.map(str::to_owned).into();
        }
    }
    let mut built = String::new();
    let search = choose(search, "search");
    if !search.is_empty() && search != ["."] {
        let _ = writeln!(built, "search {}", search.join(" "));
    }
    for server in servers {
        let _ = writeln!(built, "nameserver {server}");
    }
    let mut options = choose(options, "options");
    if source == Source::OwnServer && !options.iter().any(|option| option.starts_with("ndots:")) {
        // Names of containers have no dots, and must not be looked for in the search domains first.
        options.push("ndots:0".to_owned());
    }
    if !options.is_empty() {
        let _ = writeln!(built, "options {}", options.join(" "));
    }
    built
}

/// The values of `key`: every server; of search and options, as in resolv.conf(5), the last line.
fn words(text: &str, key: &str) -> Vec<String> {
    let mut lines = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some(key)).then(|| words.map(str::to_owned).collect::<Vec<_>>())
    });
    match key {
        "nameserver" => lines.filter_map(|line| line.into_iter().next()).collect(),
        _ => lines.next_back().unwrap_or_default(),
    }
}

fn is_loopback(server: &str) -> bool {
    let address = server.split('%').next().unwrap_or_default();
    address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(servers: &[&str], search: &[&str]) -> Resolver {
        let list = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
        Resolver { servers: list(servers), search: list(search), options: Vec::new() }
    }

    #[test]
    fn resolv_conf_of_a_container() {
        let host =
            "# made by somebody\nnameserver 127.0.0.1\nnameserver 10.0.0.1\nsearch a\nsearch b c\noptions ndots:2\n";
        assert_eq!(
            build_resolv_conf(host, &servers(&[], &[]), Source::Reachable),
            "search b c\nnameserver 10.0.0.1\noptions ndots:2\n"
        );
        assert_eq!(build_resolv_conf(host, &servers(&[], &[]), Source::Host), host);
        assert_eq!(
            build_resolv_conf(host, &servers(&["1.1.1.1"], &["."]), Source::Reachable),
            "nameserver 1.1.1.1\noptions ndots:2\n"
        );
        assert_eq!(
            build_resolv_conf("nameserver ::1\n", &servers(&[], &[]), Source::Reachable),
            "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"
        );
        assert_eq!(
            build_resolv_conf("nameserver 10.0.0.1\nsearch a\n", &servers(&["1.1.1.1"], &[]), Source::OwnServer),
            "search a\nnameserver 127.0.0.11\noptions ndots:0\n"
        );
        assert_eq!(
            build_resolv_conf("options ndots:5\n", &servers(&[], &[]), Source::OwnServer),
            "nameserver 127.0.0.11\noptions ndots:5\n"
        );
    }
}
