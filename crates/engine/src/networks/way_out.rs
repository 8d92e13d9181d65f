//! The way out of a container that is a plugin's network: the plugin is told so and publishes the ports, as in Docker.
//!
//! A driver that does not know the call leaves the ports to the network room, which leads them to the address that the
//! plugin's network has given. When the way out leaves a plugin's network, the network room publishes them; what it holds stays
//! with it.

use super::members::{Attached, Member};
use super::plugged;
use crate::Engine;
use crate::container::Record;
use crate::network_view;
use crate::plan::network::{self, NetworkMode};
use gantry_model::Result;
use gantry_network::{PortBinding, PortRequest, Proto};
use gantry_plugins::network::Options;
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};

/// Ports that are to be published, and those that have been.
const PORT_MAP: &str = "com.docker.network.portmap";
/// Ports that are exposed.
const EXPOSED: &str = "com.docker.network.endpoint.exposedports";
/// As many ports are believed to have been published.
const MAX_PORTS: usize = 4096;

/// A published port in the plugin's words.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Published {
    proto: u8,
    port: u16,
    #[serde(rename = "HostIP")]
    host_ip: Option<String>,
    host_port: u16,
}

/// What plugins are told of a container's ports: with its endpoints, and when it uses them.
pub(super) fn options(record: &Record) -> Result<Options> {
    let mode = network::mode(record);
    let has_ports = matches!(mode, NetworkMode::Bridge | NetworkMode::Custom(_)) && !record.config.network_disabled;
    let requests = if has_ports { network::port_requests(record)? } else { Vec::new() };
    let exposed = network_view::exposed(record).into_iter().filter(|_| has_ports);
    let exposed: Value = exposed.map(|(port, proto)| json!({"Proto": number(proto), "Port": port})).collect();
    let mut options = Options::new();
    options.insert(EXPOSED.to_owned(), exposed);
    options.insert(PORT_MAP.to_owned(), requests.iter().map(request).collect());
    Ok(options)
}

fn request(request: &PortRequest) -> Value {
    let (first, last) = request.host_ports.unwrap_or_default();
    json!({
        "Proto": number(request.proto),
        "IP": "",
        "Port": request.container_port,
        "HostIP": request.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        "HostPort": first,
        "HostPortEnd": last,
    })
}

/// The kernel's number of a protocol.
const fn number(proto: Proto) -> u8 {
    match proto {
        Proto::Tcp => 6,
        Proto::Udp => 17,
        Proto::Sctp => 132,
    }
}

/// Tells plugins which endpoint leads to the outside now; true if one of them publishes the ports. Blocks.
pub(super) fn follow(engine: &Engine, record: &Record, attached: &mut Attached) -> Result<bool> {
    let chosen = attached.gateways().chosen().map(|endpoint| endpoint.id);
    for member in &mut attached.members {
        if chosen != Some(member.endpoint.id) {
            revoke(engine, member)?;
        }
    }
    let member = attached.members.iter_mut().find(|member| chosen == Some(member.endpoint.id));
    match member {
        Some(member) if member.plugged.as_ref().is_some_and(|plugged| !plugged.way_out) => {
            program(engine, record, member)
        }
        Some(member) => Ok(member.plugged.is_some()),
        None => Ok(false),
    }
}

fn program(engine: &Engine, record: &Record, member: &mut Member) -> Result<bool> {
    let options = options(record)?;
    let done = plugged::call(engine, member, async |driver, id| {
        let done = driver.program_external_connectivity(id, &options).await?;
        // What it says of itself is only shown.
        let said = if done { driver.endpoint_info(id).await.unwrap_or_default() } else { Options::new() };
        Ok((done, published(said.get(PORT_MAP))))
    });
    let (done, ports) = done.map_err(|e| {
        e.context(format!(
            "driver failed programming external connectivity on endpoint {} ({})",
            record.name, member.endpoint.id
        ))
    })?;
    if let Some(plugged) = &mut member.plugged {
        (plugged.way_out, plugged.ports) = (done, ports);
    }
    Ok(done)
}

/// Tells the plugin that the endpoint is no way out any more, if it was.
pub(super) fn revoke(engine: &Engine, member: &mut Member) -> Result<()> {
    if !member.plugged.as_ref().is_some_and(|plugged| plugged.way_out) {
        return Ok(());
    }
    plugged::call(engine, member, async |driver, id| Ok(driver.revoke_external_connectivity(id).await?))?;
    if let Some(plugged) = &mut member.plugged {
        plugged.way_out = false;
        plugged.ports.clear();
    }
    Ok(())
}

fn published(said: Option<&Value>) -> Vec<PortBinding> {
    let all = said.and_then(Value::as_array).into_iter().flatten().take(MAX_PORTS);
    let read = |one: &Value| {
        let one = Published::deserialize(one).ok()?;
        let proto = [Proto::Tcp, Proto::Udp, Proto::Sctp].into_iter().find(|proto| number(*proto) == one.proto)?;
        let host_ip = one.host_ip.filter(|ip| !ip.is_empty());
        let host_ip = host_ip.map_or(Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), |ip| ip.parse().ok())?;
        (one.port > 0).then_some(PortBinding { container_port: one.port, proto, host_ip, host_port: one.host_port })
    };
    all.filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_says_is_read_as_far_as_it_makes_sense() {
        let said = json!([
            {"Proto": 6, "IP": "10.0.0.2", "Port": 80, "HostIP": "", "HostPort": 8080, "HostPortEnd": 8080},
            {"Proto": 17, "Port": 53, "HostIP": "127.0.0.1", "HostPort": 5353},
            {"Proto": 99, "Port": 53}, {"Proto": 6, "Port": 0}, {"Proto": 6, "Port": 5, "HostIP": "x"}, 7, {"Proto": "tcp"},
        ]);
        let found = published(Some(&said));
        let shown: Vec<_> =
            found.iter().map(|b| (b.container_port, b.proto, b.host_ip.to_string(), b.host_port)).collect();
        assert_eq!(shown, [(80, Proto::Tcp, "0.0.0.0".into(), 8080), (53, Proto::Udp, "127.0.0.1".into(), 5353)]);
        assert!(published(Some(&json!({"a": 1}))).is_empty() && published(None).is_empty());
    }

    #[test]
    fn requests_in_libnetwork_s_words() {
        let asked =
            PortRequest { container_port: 80, proto: Proto::Tcp, host_ip: None, host_ports: Some((8080, 8081)) };
        let expected = json!({"Proto": 6, "IP": "", "Port": 80, "HostIP": "", "HostPort": 8080, "HostPortEnd": 8081});
        assert_eq!(request(&asked), expected);
    }
}
