//! Joining networks at a start, and leaving them at the end of a run.

use super::members::{Attached, Member};
use super::record::Network;
use super::{addresses, driver, endpoints, way_out};
use crate::Engine;
use crate::container::{Container, Record};
use crate::plan::network::{self, NetworkMode, Predefined};
use crate::shim::ShimLink;
use gantry_api_types::EndpointSettings;
use gantry_model::{Error, Id, Result};
use gantry_network::{Proto, Published, Stack};
use gantry_runtime::seccomp;
use gantry_runtime::spec::{self, Forward, Holding};
use gantry_shim_protocol::{RequestBody, transport};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Networks that are joined at a start, and how.
type Wanted = Vec<(Arc<Network>, EndpointSettings)>;

/// Sockets that keep host ports from other programs, and those that are to be served besides.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    pub(crate) sockets: Vec<OwnedFd>,
    pub(crate) forwards: Vec<Forward>,
}

/// The seccomp filter of who carries; empty where nobody will.
pub(crate) fn carrier_filter(forwards: &[Forward]) -> Result<Vec<u8>> {
    if forwards.is_empty() {
        return Ok(Vec::new());
    }
    Ok(seccomp::carrier().map_err(|e| Error::internal(e.to_string()))?.to_vec())
}

/// Gives sockets that hold ports to a shim that runs, as many at a time as a message takes.
async fn hand_over(container: &Container, sockets: &[OwnedFd], forwards: &[Forward]) -> Result<()> {
    let link = container.shim().ok_or_else(|| Error::conflict("the container is not running"))?;
    for (number, some) in sockets.chunks(transport::MAX_FDS).enumerate() {
        let first = number * transport::MAX_FDS;
        let theirs = forwards.iter().filter(|f| (first..first + some.len()).contains(&(f.holder as usize)));
        let forwards: Vec<_> = theirs.map(|f| Forward { holder: f.holder - first as u32, ..*f }).collect();
        let holding = Holding { carrier_filter: carrier_filter(&forwards)?, forwards };
        let fds: Vec<_> = some.iter().map(AsFd::as_fd).collect();
        link.perform(RequestBody::Hold { holding: spec::encode(&holding)? }, &fds).await?;
    }
    Ok(())
}

impl Engine {
    /// The name of the network that a client named in whatever way; of one that is not there, what the client wrote.
    pub(crate) fn network_name(&self, text: &str) -> String {
        self.networks.find(text).map_or_else(|_| text.to_owned(), |network| network.name.clone())
    }

    /// Reserves addresses and ports for a start. Blocks; after an error nothing is left.
    pub(crate) fn reserve_networks(&self, record: &Record) -> Result<(Attached, Holders)> {
        let mut attached = Attached::default();
        let reserved = self.reserve(record, &mut attached);
        if reserved.is_err() {
            self.leave_networks(&attached);
        }
        Ok((attached, reserved?))
    }

    fn reserve(&self, record: &Record, attached: &mut Attached) -> Result<Holders> {
        for (network, settings) in self.networks_to_join(record)? {
            let member = self.allocate(record, &network, &settings, attached)?;
            attached.members.push(member);
        }
        self.find_publisher(record, attached)
    }

    /// Has a plugin publish the ports if the way out is by its network, and reserves them otherwise.
    fn find_publisher(&self, record: &Record, attached: &mut Attached) -> Result<Holders> {
        if way_out::follow(self, record, attached)? {
            return Ok(Holders::default());
        }
        self.reserve_ports(record, attached)
    }

    /// In the order of their interfaces: the default bridge, the network of the mode, then by name.
    fn networks_to_join(&self, record: &Record) -> Result<Wanted> {
        let mode = network::mode(record);
        if !mode.is_private() {
            return Ok(Vec::new());
        }
        let first = mode.network().map(|name| self.network_name(name));
        let mut wanted = Vec::new();
        for (name, settings) in &record.networks {
            let network =
                self.networks.named(name).ok_or_else(|| Error::not_found(format!("network {name} not found")))?;
            match network.as_predefined() {
                Some(Predefined::None | Predefined::Host) => {}
                _ => wanted.push((network, settings.clone())),
            }
        }
        let rank = |name: &str| (name != Predefined::Bridge.name(), first.as_deref() != Some(name));
        wanted.sort_by_key(|(network, _)| rank(&network.name));
        Ok(wanted)
    }

    /// A place on a network, with nothing in the kernel yet.
    pub(super) fn allocate(
        &self,
        record: &Record,
        network: &Network,
        settings: &EndpointSettings,
        attached: &Attached,
    ) -> Result<Member> {
        if network.config_only {
            return Err(Error::forbidden("cannot create endpoint on configuration-only network"));
        }
        endpoints::check_on(network, settings)?;
        let wanted = endpoints::interface_name(settings)?;
        if let Some(name) = wanted.filter(|name| attached.members.iter().any(|member| member.ifname == *name)) {
            return Err(Error::invalid(format!("the container has an interface {name} already")));
        }
        let (endpoint, plugged) = driver::allocate(self, network, record, settings)?;
        let ifname = wanted.map_or_else(
            || {
                let own = plugged.as_ref().map(|plugged| plugged.prefix.as_str()).filter(|prefix| !prefix.is_empty());
                let prefix = || network.spec.as_ref().map_or("eth", |spec| spec.driver.container_prefix());
                attached.next_ifname(own.unwrap_or_else(prefix))
            },
            str::to_owned,
        );
        // They were read before anything was taken: `check_on`.
        let settings_of_interface = endpoints::interface_settings(settings, &ifname).unwrap_or_default();
        Ok(Member {
            network: network.id,
            name: network.name.clone(),
            driver: network.driver.clone(),
            internal: network.internal,
            priority: settings.gw_priority,
            ifname,
            settings: settings_of_interface,
            endpoint,
            plugged,
        })
    }

    /// Reserves the published ports. Without a way out they lead nowhere until a network is joined that has one.
    fn reserve_ports(&self, record: &Record, attached: &mut Attached) -> Result<Holders> {
        let mode = network::mode(record);
        if !matches!(mode, NetworkMode::Bridge | NetworkMode::Custom(_)) || record.config.network_disabled {
            return Ok(Holders::default());
        }
        let requests = network::port_requests(record)?;
        if requests.is_empty() {
            return Ok(Holders::default());
        }
        let gateways = attached.gateways();
        let endpoint = gateways.chosen().map_or(record.id, |endpoint| endpoint.id);
        let publication = self.network.reserve_ports(record.id, gateways, &requests).map_err(|e| {
            Error::from(e).context(format!(
                "driver failed programming external connectivity on endpoint {} ({endpoint})",
                record.name
            ))
        })?;
        attached.published = Some(publication.published);
        let forward = |forward: gantry_network::Forward| Forward {
            holder: forward.holder as u32,
            datagrams: forward.proto == Proto::Udp,
            port: forward.container_port,
        };
        let forwards = publication.forwards.into_iter().map(forward).collect();
        Ok(Holders { sockets: publication.holders, forwards })
    }

    /// Makes the links into the container's network namespace and opens its ports. Blocks.
    pub(crate) fn attach_networks(&self, attached: &Attached, netns: BorrowedFd<'_>, stack: Stack) -> Result<()> {
        for member in &attached.members {
            driver::attach(self, member, netns, stack)?;
        }
        if let Some(published) = &attached.published {
            self.network.open_ports(published)?;
        }
        Ok(())
    }

    /// Has the ports of a container that runs published by whoever has its way out now; until now the network room did not.
    /// Blocks; after an error nothing is published here.
    pub(super) fn publish_running(&self, container: &Container, attached: &mut Attached) -> Result<()> {
        let record = container.read().clone();
        let Holders { sockets, forwards } = self.find_publisher(&record, attached)?;
        let Some(published) = attached.published.clone() else { return Ok(()) };
        let held = self.handle.block_on(hand_over(container, &sockets, &forwards));
        let open = held.and_then(|()| self.network.open_ports(&published).map_err(Into::into));
        if open.is_err() {
            attached.published = None;
            self.network.close_ports(&record.id)?;
        }
        open
    }

    /// Leads the ports to where the way out is now.
    pub(super) fn move_ports(&self, container: Id, attached: &mut Attached) -> Result<()> {
        if attached.published.is_some() {
            attached.published = self.network.move_ports(&container, attached.gateways())?;
        }
        Ok(())
    }

    /// Tells the container's shim where the ports that it serves lead to now.
    pub(crate) async fn lead_forwards(&self, link: &ShimLink, attached: &Attached) -> Result<()> {
        // It has what holds the ports of datagrams, too.
        let concerned = |published: &&Published| published.forwarded || published.has_datagrams();
        let Some(published) = attached.published.as_ref().filter(concerned) else { return Ok(()) };
        let endpoints = attached.members.iter().map(|member| &member.endpoint);
        let alive = endpoints.flat_map(addresses::of).collect();
        link.perform(RequestBody::Forward { to: published.forwarding_target(), alive }, &[]).await
    }

    /// The same for a container that runs: a port that leads to the wrong place is no reason to fail.
    pub(crate) async fn forwards_have_moved(&self, container: &Container) {
        let (link, attached) = (container.shim(), container.read().attached.clone());
        let Some(link) = link else { return };
        if let Err(e) = self.lead_forwards(&link, &attached).await {
            tracing::warn!("container {}: its published ports: {e}", container.id);
        }
    }

    /// Gives everything back. Blocks; what fails is logged, for nobody can act on it.
    pub(crate) fn leave_networks(&self, attached: &Attached) {
        let report = |what: &str, result: Result<()>| {
            if let Err(e) = result {
                tracing::warn!("{what}: {e}");
            }
        };
        if let Some(published) = &attached.published {
            report("closing published ports", self.network.close_ports(&published.container).map_err(Into::into));
        }
        for member in &attached.members {
            report("releasing a network endpoint", driver::release(self, member));
        }
    }

    /// The same without blocking the runtime.
    pub(crate) async fn leave_networks_of(&self, attached: Attached) {
        if attached.members.is_empty() && attached.published.is_none() {
            return;
        }
        let engine = self.arc();
        drop(tokio::task::spawn_blocking(move || engine.leave_networks(&attached)).await);
    }

    /// Of a run that ended while no daemon was there: the network room has forgotten it, plugins have not.
    pub(crate) async fn leave_plugins_of(&self, mut attached: Attached) {
        attached.published = None;
        attached.members.retain(|member| {
            let pools = self.networks.get(&member.network).is_some_and(|network| !network.plugin_pools.is_empty());
            member.plugged.is_some() || pools
        });
        self.leave_networks_of(attached).await;
    }

    /// `connect` or `disconnect` of a container and each of its networks.
    pub(crate) fn membership_events(&self, container: &Container, attached: &Attached, action: &str) {
        let (id, names) = {
            let record = container.read();
            (record.id.to_string(), record.networks.keys().cloned().collect::<Vec<_>>())
        };
        for member in &attached.members {
            if let Some(network) = self.networks.get(&member.network) {
                self.network_event(&network, action, Some(&id));
            }
        }
        // `host` and `none` are joined by nothing but saying so.
        for name in names {
            let network = self.networks.named(&name);
            let plain = network.filter(|n| matches!(n.as_predefined(), Some(Predefined::Host | Predefined::None)));
            if let Some(network) = plain {
                self.network_event(&network, action, Some(&id));
            }
        }
    }
}
