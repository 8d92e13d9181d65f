//! The variables of a link, as Docker has made them since before there were names.

use super::Live;
use crate::plan::network::parse_port;
use gantry_network::Proto;
use std::net::Ipv4Addr;

/// Of the link that container `parent` has.
pub(super) fn of_link(parent: &str, link: &Live) -> Vec<String> {
    let record = link.target.read();
    let config = &record.config;
    let ports = config.exposed_ports.iter().flat_map(|ports| ports.keys()).filter_map(|port| parse_port(port).ok());
    let environment = config.env.as_deref().unwrap_or_default();
    variables(parent, &link.alias, link.address(), ports.collect(), environment)
}

fn variables(
    parent: &str,
    alias: &str,
    ip: Ipv4Addr,
    mut ports: Vec<(u16, Proto)>,
    environment: &[String],
) -> Vec<String> {
    let last = alias.rsplit('/').next().unwrap_or(alias);
    let prefix = last.to_uppercase().replace('-', "_");
    let url = |(port, proto): (u16, Proto)| format!("{}://{ip}:{port}", proto.as_str());
    let name = |(port, proto): (u16, Proto)| format!("{prefix}_PORT_{port}_{}", proto.as_str().to_uppercase());
    // TCP first where the numbers are the same, which is the order of the type.
    ports.sort_unstable();
    ports.dedup();
    let mut all = Vec::new();
    all.extend(ports.first().map(|port| format!("{prefix}_PORT={}", url(*port))));
    for range in ranges(&ports) {
        let (first, last) = (range[0], range[range.len() - 1]);
        let (name, proto) = (name(first), first.1.as_str());
        all.extend([
            format!("{name}_START={}", url(first)),
            format!("{name}_ADDR={ip}"),
            format!("{name}_PROTO={proto}"),
            format!("{name}_PORT_START={}", first.0),
            format!("{name}_END={}", url(last)),
            format!("{name}_PORT_END={}", last.0),
        ]);
    }
    for port in ports {
        let (name, proto) = (name(port), port.1.as_str());
        all.extend([
            format!("{name}={}", url(port)),
            format!("{name}_ADDR={ip}"),
            format!("{name}_PORT={}", port.0),
            format!("{name}_PROTO={proto}"),
        ]);
    }
    all.push(format!("{prefix}_NAME=/{parent}/{alias}"));
    let own = environment.iter().filter_map(|variable| variable.split_once('='));
    all.extend(own.filter(|(key, _)| !matches!(*key, "HOME" | "PATH")).map(|(k, v)| format!("{prefix}_ENV_{k}={v}")));
    let mut seen = std::collections::HashSet::new();
    // A range's first port is told twice.
    all.retain(|variable| seen.insert(variable.clone()));
    all
}

/// Runs of three and more ports whose numbers follow each other.
fn ranges(ports: &[(u16, Proto)]) -> impl Iterator<Item = &[(u16, Proto)]> {
    let follow = |a: &(u16, Proto), b: &(u16, Proto)| a.0 + 1 >= b.0 && a.0 < u16::MAX;
    ports.chunk_by(follow).filter(|run| run.len() > 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_docker_makes_them() {
        let ports = [(80, Proto::Tcp), (53, Proto::Udp), (90, Proto::Tcp), (91, Proto::Tcp), (92, Proto::Tcp)];
        let environment = ["SECRET=1", "PATH=/x", "EMPTY=", "NOTHING"].map(str::to_owned);
        let all = variables("web", "a-b", Ipv4Addr::new(172, 17, 0, 2), ports.into(), &environment);
        for wanted in [
            "A_B_PORT=udp://172.17.0.2:53",
            "A_B_PORT_53_UDP=udp://172.17.0.2:53",
            "A_B_PORT_80_TCP_ADDR=172.17.0.2",
            "A_B_PORT_80_TCP_PORT=80",
            "A_B_PORT_80_TCP_PROTO=tcp",
            "A_B_PORT_90_TCP_START=tcp://172.17.0.2:90",
            "A_B_PORT_90_TCP_PORT_START=90",
            "A_B_PORT_90_TCP_END=tcp://172.17.0.2:92",
            "A_B_PORT_90_TCP_PORT_END=92",
            "A_B_NAME=/web/a-b",
            "A_B_ENV_SECRET=1",
            "A_B_ENV_EMPTY=",
        ] {
            assert!(all.iter().any(|variable| variable == wanted), "{wanted} in {all:#?}");
        }
        assert_eq!(all.len(), 1 + 6 + 5 * 4 - 2 + 1 + 2);
        assert!(!all.iter().any(|variable| variable.contains("PATH") || variable.contains("NOTHING")));
    }
}
