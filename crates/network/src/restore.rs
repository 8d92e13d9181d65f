//! Bringing the host in line with what is on record and alive, when the daemon starts.

use crate::books::{Books, Network, Publishing};
use crate::bridge::{Bridge, Host};
use crate::create::lock_namespace;
use crate::manager::lock;
use crate::sweeper::delete_links;
use crate::{Endpoint, Error, Manager, NetworkSpec, Published, Result};
use gantry_linux::netlink::route::{self, Link};
use gantry_linux::netlink::{Batch, Socket};
use gantry_model::Id;
use std::collections::{HashMap, HashSet};

/// What a living container has of networks.
#[derive(Debug, Clone, Default)]
pub struct Attachment {
    /// Its places.
    pub endpoints: Vec<Endpoint>,
    /// Its published ports.
    pub published: Option<Published>,
}

impl Manager {
    /// To be called once when the daemon starts, with all networks on record (the default one excepted) and what all
    /// living containers have: makes the networks, reserves what is the containers', puts back what is missing and
    /// removes every link and rule of this instance that is nobody's. Goes on after failures and reports them all.
    pub fn restore(&self, networks: &[NetworkSpec], live: &[Attachment]) -> Result<()> {
        let shared = &self.shared;
        let _making = lock(&shared.making);
        let _lock = lock_namespace()?;
        let host = shared.look()?;
        let mut errors = Vec::new();
        errors.extend(delete_links(&mut lock(&shared.links), &self.strays(&host, networks, live)).err());
        let (mut made, mut absent) = (HashMap::new(), HashMap::new());
        for spec in networks {
            match shared.make(spec, &host) {
                Ok(what) => {
                    made.insert(spec.id, Network::new(spec.clone(), what));
                }
                // Its subnets stay its own, and the next container that wants to be on it tries again.
                Err(e) => {
                    tracing::error!(network = spec.name, "cannot be made: {e}");
                    absent.insert(spec.id, spec.clone());
                }
            }
        }
        {
            let mut books = lock(&shared.books);
            let known = std::mem::take(&mut books.networks).into_values();
            let all = known.map(|n| (n.spec.id, Network::new(n.spec, n.made))).chain(made).collect();
            let direct_routing = books.direct_routing;
            *books = Books { absent, direct_routing, ..Books::of(all, live) };
        }
        errors.extend(self.plug_in_again(&host, live));
        if let Some(firewall) = &shared.firewall {
            let mut netfilter = lock(&shared.netfilter);
            let content = lock(&shared.books).firewall_content();
            errors.extend(firewall.rebuild(&mut netfilter, &content).err());
        }
        errors.extend(shared.meet_docker().err());
        Error::gather(errors)
    }

    /// The links of this instance that are nobody's.
    fn strays<'h>(&self, host: &'h Host, networks: &[NetworkSpec], live: &[Attachment]) -> Vec<&'h str> {
        let config = &self.shared.config;
        let (veths, alias) = (config.link_prefix(), config.alias_prefix());
        let wanted: HashSet<&str> = live.iter().flat_map(|a| &a.endpoints).map(|e| e.host_ifname.as_str()).collect();
        let known: HashSet<Id> = networks.iter().map(|n| n.id).collect();
        let is_stray = |link: &&Link| {
            let veth = link.kind.as_deref() == Some("veth") && link.name.starts_with(&veths);
            let network = link.alias.as_deref().and_then(|text| text.strip_prefix(&alias));
            veth && !wanted.contains(link.name.as_str())
                || network.is_some_and(|id| id.parse().map_or(true, |id| !known.contains(&id)))
        };
        host.links.iter().filter(is_stray).map(|link| link.name.as_str()).collect()
    }

    /// Connects the links of living containers to their bridges, where those were made anew.
    fn plug_in_again(&self, host: &Host, live: &[Attachment]) -> Vec<Error> {
        let by_name: HashMap<&str, &Link> = host.links.iter().map(|l| (l.name.as_str(), l)).collect();
        let mut errors = Vec::new();
        for endpoint in live.iter().flat_map(|a| &a.endpoints).filter(|e| !e.host_ifname.is_empty()) {
            let bridge = {
                let books = lock(&self.shared.books);
                books.networks.get(&endpoint.network).and_then(Network::bridge).cloned()
            };
            let Some((link, bridge)) = by_name.get(endpoint.host_ifname.as_str()).zip(bridge) else {
                // Made inside a namespace that only its container can name now: a restart of it is the cure.
                tracing::warn!(container = %endpoint.container, "the container has lost a network link");
                continue;
            };
            errors.extend(plug_in(&mut lock(&self.shared.links), &bridge, link).err());
        }
        errors
    }
}

/// Connects a link to the bridge, if it is not.
fn plug_in(socket: &mut Socket, bridge: &Bridge, link: &Link) -> Result<()> {
    if link.master == Some(bridge.index) && link.up {
        return Ok(());
    }
    let mut batch = Batch::new();
    route::set_master(&mut batch, &link.name, bridge.index);
    // What it has of IPv6 was said when it was made.
    route::set_port(&mut batch, &link.name, bridge.port, 1);
    socket.transact(&mut batch).map_err(|e| Error::kernel(format!("connect link {}", link.name))(e.into()))
}

impl Books {
    /// The books as the living containers say. Two that claim the same cannot both be right, but both live:
    /// the claim is kept once, and neither is refused.
    fn of(networks: HashMap<Id, Network>, live: &[Attachment]) -> Self {
        let mut books = Self { networks, ..Self::default() };
        for attachment in live {
            for endpoint in &attachment.endpoints {
                books.claim(endpoint);
            }
            if let Some(published) = &attachment.published {
                for port in &published.bindings {
                    if let Err(e) = books.ports.adopt(port) {
                        tracing::warn!(container = %published.container, "claim of a living container: {e}");
                    }
                }
                let publishing = Publishing { published: published.clone(), open: true };
                books.published.insert(published.container, publishing);
            }
        }
        books
    }

    fn claim(&mut self, endpoint: &Endpoint) {
        let Some(network) = self.networks.get_mut(&endpoint.network) else {
            return tracing::warn!(container = %endpoint.container, "is on a network that is not there");
        };
        let addresses = [endpoint.ipv4.map(|a| a.0.into()), endpoint.ipv6.map(|a| a.0.into())];
        for address in addresses.into_iter().flatten() {
            let pool = network.pools.iter_mut().find(|p| p.subnet().contains(address));
            if let Some(Err(e)) = pool.map(|pool| pool.take(address)) {
                tracing::warn!(container = %endpoint.container, ip = %address, "claim of a living container: {e}");
            }
        }
        self.endpoints.insert(endpoint.id, endpoint.clone());
    }
}
