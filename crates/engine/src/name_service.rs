//! The name server of containers on networks that clients have made: what it is told, and when.
//!
//! A container is served from before its program runs until it has ended; one that comes to its first such network later,
//! from then on. Whatever changes is told as a whole: the container's names on its networks, and what it sees.

use crate::Engine;
use crate::container::{Container, Record};
use crate::network_view::dns_names;
use crate::networks::connect::network_namespace;
use crate::networks::members::{Attached, Member};
use crate::plan::files;
use crate::plan::network::Predefined;
use futures_util::{StreamExt, stream};
use gantry_dns::{Attachment, Place, ServerAddress, Upstream, View};
use gantry_model::{Id, Result};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Containers whose servers are opened at a time when the daemon starts.
const OPENINGS: usize = 16;
/// The port of name servers.
const DOMAIN: u16 = 53;

impl Engine {
    /// Serves a container that is about to run, if it is on a network that has names.
    pub(crate) async fn serve_names(&self, record: &Record, attached: &Attached, netns: OwnedFd) -> Result<()> {
        if !files::needs_names(attached) {
            return Ok(());
        }
        self.dns.serve(record.id, netns, view(self, record, attached)).await?;
        self.dns.place(record.id, places(record, attached));
        Ok(())
    }

    /// A running container has joined or left a network, or has got another name.
    pub(crate) async fn names_have_changed(&self, container: &Container) -> Result<()> {
        let record = container.read().clone();
        let told = self.tell_names(&record, &record.attached).await;
        // Whoever ended its run meanwhile may have done so before it was told.
        if container.shim().is_none() {
            self.end_names(&record.id);
        }
        told
    }

    async fn tell_names(&self, record: &Record, attached: &Attached) -> Result<()> {
        // Its name server stays with a container that has left its last network of names, for its files lead there.
        let served = self.dns.update(&record.id, view(self, record, attached));
        if !served && files::needs_names(attached) {
            return self.serve_names(record, attached, network_namespace(record)?).await;
        }
        self.dns.place(record.id, places(record, attached));
        Ok(())
    }

    /// A container runs no more. Nothing of its network namespace is held after this.
    pub(crate) fn end_names(&self, container: &Id) {
        self.dns.stop(container);
        self.dns.place(*container, Vec::new());
    }

    /// Serves the containers again that a new daemon has found running.
    pub(crate) async fn resume_names(&self, containers: Vec<Arc<Container>>) {
        let openings = containers.into_iter().map(|container| async move {
            if let Err(e) = self.names_have_changed(&container).await {
                tracing::warn!("container {}: its name server: {e}", container.id);
            }
        });
        stream::iter(openings).buffer_unordered(OPENINGS).collect::<()>().await;
    }
}

/// The places on networks that have names.
fn with_names(attached: &Attached) -> impl Iterator<Item = &Member> {
    attached.members.iter().filter(|member| member.name != Predefined::Bridge.name())
}

fn places(record: &Record, attached: &Attached) -> Vec<Place> {
    let place = |member: &Member| {
        let settings = record.networks.get(&member.name).cloned().unwrap_or_default();
        Place {
            network: member.network,
            network_name: member.name.clone(),
            name: record.name.clone(),
            aliases: dns_names(record, &settings),
            ipv4: member.endpoint.ipv4.map(|(ip, _)| ip),
            ipv6: member.endpoint.ipv6.map(|(ip, _)| ip),
        }
    };
    with_names(attached).map(place).collect()
}

fn view(engine: &Engine, record: &Record, attached: &Attached) -> View {
    let attachment = |member: &Member| {
        let links = record.networks.get(&member.name).and_then(|settings| settings.links.as_ref());
        // Checked when the client asked for them.
        let links = links.into_iter().flatten().filter_map(|link| crate::links::parse(link).ok());
        Attachment {
            network: member.network,
            links: links.map(|(name, alias)| (alias.to_owned(), name.to_owned())).collect(),
        }
    };
    View { attachments: with_names(attached).map(attachment).collect(), upstream: upstream(engine, record, attached) }
}

/// Where questions go beyond the names of the networks.
fn upstream(engine: &Engine, record: &Record, attached: &Attached) -> Upstream {
    let resolver = files::upstream(engine, record);
    let address = |text: &String| {
        let address = parse_address(text)?;
        Some(ServerAddress { address, from_host: resolver.of_host })
    };
    let leads_out =
        |member: &Member| !member.internal && (member.endpoint.leads_out_v4() || member.endpoint.leads_out_v6());
    Upstream {
        servers: resolver.servers.iter().filter_map(address).collect(),
        // A name is a way out as well: whoever may not leave by himself has nobody ask for him.
        forward: attached.members.iter().any(leads_out),
        ndots: resolver.ndots,
    }
}

/// An address as `resolv.conf` has it, with a zone perhaps.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    let address: IpAddr = address.parse().ok()?;
    match (address, zone) {
        (IpAddr::V6(ip), Some(zone)) => {
            let zone = zone.parse().ok().or_else(|| interface_index(zone))?;
            Some(SocketAddrV6::new(ip, DOMAIN, 0, zone).into())
        }
        (_, Some(_)) => None,
        (_, None) => Some(SocketAddr::new(address, DOMAIN)),
    }
}

fn interface_index(name: &str) -> Option<u32> {
    use rustix::net::{AddressFamily, SocketType, netdevice, socket};
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None).ok()?;
    netdevice::name_to_index(any, name).ok()
}

#[cfg(test)]
mod tests {
    use super::parse_address;

    #[test]
    fn addresses_of_servers() {
        let show = |text: &str| parse_address(text).map(|address| address.to_string());
        assert_eq!(show("10.0.0.1").as_deref(), Some("10.0.0.1:53"));
        assert_eq!(show("fd00::1").as_deref(), Some("[fd00::1]:53"));
        assert_eq!(show("fe80::1%7").as_deref(), Some("[fe80::1%7]:53"));
        assert_eq!(show("fe80::1%lo").as_deref(), Some("[fe80::1%1]:53"));
        for bad in ["", "name", "10.0.0.1%lo", "fe80::1%nothing-like-this"] {
            assert_eq!(show(bad), None, "{bad}");
        }
    }
}
