//! Publishing ports: reserving them on the host, leading them to a container, and leading them elsewhere.

use crate::books::{Books, Publishing};
use crate::firewall::PortElements;
use crate::manager::{Shared, lock};
use crate::options::bind_address;
use crate::ports::{Wanted, has_ipv6};
use crate::{
    BridgeOptions, Driver, Endpoint, Error, Forward, GatewayMode, Gateways, Manager, PortBinding, PortRequest, Proto,
    Publication, Published, Result, Target,
};
use gantry_linux::netlink::conntrack::{self, Tuple};
use gantry_linux::netlink::{Socket, route};
use gantry_model::Id;
use std::net::{IpAddr, Ipv4Addr};
use std::slice;

impl Manager {
    /// Reserves host ports for a container. Nothing changes in the kernel but the bound sockets. Without a gateway
    /// they lead nowhere until [`move_ports`](Self::move_ports) gives them one.
    pub fn reserve_ports(
        &self,
        container: Id,
        gateways: Gateways<'_>,
        requests: &[PortRequest],
    ) -> Result<Publication> {
        let shared = &self.shared;
        let mut books = lock(&shared.books);
        let plan = Plan::of(&books, shared, gateways);
        let mut published = Published { container, bindings: Vec::with_capacity(requests.len()), ..plan.published };
        published.container = container;
        let mut holders = Vec::with_capacity(requests.len());
        let mut forwards = Vec::new();
        for request in requests {
            let forwarded = [false, true].map(|v6| plan.forwards(request.proto, v6));
            let reserved = plan.hosts(request).and_then(|(host, untranslated)| {
                published.bindings.extend(untranslated);
                if host.is_empty() {
                    return Ok((Vec::new(), Vec::new()));
                }
                books.ports.reserve(Wanted { request, host: &host, container: plan.target, forwarded })
            });
            match reserved {
                Ok((bindings, sockets)) => {
                    // There are as many sockets as bindings, or none.
                    let served = bindings.iter().zip(holders.len()..).take(sockets.len());
                    let forward = |(port, holder): (&PortBinding, usize)| {
                        let PortBinding { proto, container_port, .. } = *port;
                        port.is_forwarded(forwarded).then_some(Forward { holder, proto, container_port })
                    };
                    forwards.extend(served.filter_map(forward));
                    published.bindings.extend(bindings);
                    holders.extend(sockets);
                }
                Err(e) => {
                    published.bindings.iter().for_each(|port| books.ports.free(port));
                    return Err(e);
                }
            }
        }
        published.forwarded = !forwards.is_empty();
        published.forwarded_v4 = published.forwarded && plan.forwarding[0];
        books.published.insert(container, Publishing { published: published.clone(), open: false });
        Ok(Publication { published, holders, forwards })
    }

    /// Opens reserved ports. The container's interface is there.
    pub fn open_ports(&self, published: &Published) -> Result<()> {
        let shared = &self.shared;
        let elements = {
            let mut books = lock(&shared.books);
            let publishing = Publishing { published: published.clone(), open: true };
            books.published.insert(published.container, publishing);
            books.port_elements(published)
        };
        if elements.is_empty() {
            return Ok(());
        }
        shared.exchange_ports(&PortElements::default(), &elements).inspect_err(|_| {
            if let Some(publishing) = lock(&shared.books).published.get_mut(&published.container) {
                publishing.open = false;
            }
        })?;
        shared.forget_earlier_flows(published)
    }

    /// Leads a container's ports to other endpoints of it, or nowhere. Gives what is to be kept from now on.
    pub fn move_ports(&self, container: &Id, gateways: Gateways<'_>) -> Result<Option<Published>> {
        let shared = &self.shared;
        let (old, new, published) = {
            let mut books = lock(&shared.books);
            let Some(publishing) = books.published.get(container).cloned() else { return Ok(None) };
            let before = publishing.published;
            let after = Published { ipv4: target_v4(gateways.v4), ipv6: target_v6(gateways.v6), ..before.clone() };
            let elements = [&before, &after].map(|p| books.port_elements(p));
            let open = Publishing { published: after.clone(), open: true };
            books.published.insert(*container, open);
            let [old, new] = elements;
            (if publishing.open { old } else { PortElements::default() }, new, (before, after))
        };
        let (before, after) = published;
        if before.ipv4 == after.ipv4 && before.ipv6 == after.ipv6 {
            return Ok(Some(after));
        }
        shared.exchange_ports(&old, &new)?;
        shared.forget_flows(&before)?;
        shared.forget_earlier_flows(&after)?;
        Ok(Some(after))
    }

    /// Closes a container's ports and gives them back. Those that are closed already are no error. Goes on after
    /// failures and reports them all.
    pub fn close_ports(&self, container: &Id) -> Result<()> {
        let shared = &self.shared;
        let mut errors = Vec::new();
        let (publishing, elements) = {
            let mut books = lock(&shared.books);
            // The ports stay taken until they are closed.
            let Some(publishing) = books.published.get_mut(container) else { return Ok(()) };
            let was = publishing.clone();
            publishing.open = false;
            let elements = books.port_elements(&was.published);
            (was, elements)
        };
        if let Some(firewall) = shared.firewall.as_ref().filter(|_| publishing.open && !elements.is_empty()) {
            errors.extend(firewall.withdraw(&mut lock(&shared.netfilter), &elements).err());
            errors.extend(shared.forget_flows(&publishing.published).err());
        }
        let mut books = lock(&shared.books);
        // Last, and only once: from here on somebody else may get them.
        if books.published.remove(container).is_some() {
            publishing.published.bindings.iter().for_each(|port| books.ports.free(port));
        }
        Error::gather(errors)
    }
}

impl Shared {
    /// Changes the firewall's maps, whose new content the books say already.
    fn exchange_ports(&self, old: &PortElements, new: &PortElements) -> Result<()> {
        self.change_firewall("publish ports in", |firewall, socket| {
            if old.is_empty() { firewall.publish(socket, new) } else { firewall.exchange(socket, old, new) }
        })
    }

    /// Somebody who has sent datagrams to the port all along is known to connection tracking as a flow without
    /// translation, and would stay so for as long as the sending goes on. What the host itself or a container sends to
    /// the same port elsewhere is left alone: only the host's own addresses count.
    fn forget_earlier_flows(&self, published: &Published) -> Result<()> {
        let ports: Vec<_> =
            published.bindings.iter().filter(|p| p.proto == Proto::Udp && published.translation(p).is_some()).collect();
        if ports.is_empty() || self.firewall.is_none() {
            return Ok(());
        }
        let local = self.local_addresses()?;
        forget_to(&mut lock(&self.netfilter), &ports, &local)
    }

    /// Datagrams have no end that connection tracking could see: a sender that goes on would be sent to the
    /// address of a container that is gone, and not to the next one that publishes the port.
    fn forget_flows(&self, published: &Published) -> Result<()> {
        let targets = [published.ipv4.map(|t| t.address.into()), published.ipv6.map(|t| t.address.into())];
        if self.firewall.is_none() || !published.has_datagrams() || targets == [None::<IpAddr>; 2] {
            return Ok(());
        }
        conntrack::forget(&mut lock(&self.netfilter), Proto::Udp.number(), |flow| {
            targets.contains(&Some(flow.reply.source))
        })
        .map(|_| ())
        .map_err(|e| Error::kernel("forget the container's flows")(e.into()))
    }

    fn local_addresses(&self) -> Result<Vec<IpAddr>> {
        let all = route::addresses(&mut lock(&self.links)).map_err(|e| Error::kernel("list addresses")(e.into()))?;
        Ok(all.into_iter().map(|a| a.address).collect())
    }
}

fn forget_to(socket: &mut Socket, ports: &[&PortBinding], local: &[IpAddr]) -> Result<()> {
    let is_local = |ip: IpAddr| ip.is_loopback() || local.contains(&ip);
    conntrack::forget(socket, Proto::Udp.number(), |flow| {
        let Tuple { destination, destination_port, .. } = flow.original;
        let is_for = |p: &&PortBinding| {
            let same_family = p.host_ip.is_ipv4() == destination.is_ipv4();
            p.host_port == destination_port && same_family && (p.host_ip.is_unspecified() || p.host_ip == destination)
        };
        flow.reply.source == destination && is_local(destination) && ports.iter().any(is_for)
    })
    .map(|_| ())
    .map_err(|e| Error::kernel("forget flows to the published ports")(e.into()))
}

/// How the ports of a container with these gateways are published.
struct Plan {
    published: Published,
    /// Where requests that name no address are bound, by family; `None` where that family has no way in.
    bind: [Option<IpAddr>; 2],
    /// By family, whether the host's ports lead to the container, instead of its own.
    translated: [bool; 2],
    /// By family, whether a shim may serve its ports.
    forwarding: [bool; 2],
    /// Nothing is translated, whatever it should be.
    no_firewall: bool,
    /// The container's address, for messages.
    target: IpAddr,
}

impl Plan {
    fn of(books: &Books, shared: &Shared, gateways: Gateways<'_>) -> Self {
        let (config, no_firewall) = (&shared.config, shared.firewall.is_none());
        let options = |endpoint: Option<&Endpoint>| {
            let network = endpoint.and_then(|e| books.networks.get(&e.network));
            match network.map(|n| &n.spec.driver) {
                Some(Driver::Bridge(options)) => options.clone(),
                _ => BridgeOptions::default(),
            }
        };
        let (v4, v6) = (options(gateways.v4), options(gateways.v6));
        let modes = [v4.gateway_mode_v4, v6.gateway_mode_v6];
        let published = Published {
            container: Id::from_bytes([0; 32]),
            ipv4: target_v4(gateways.v4),
            ipv6: target_v6(gateways.v6),
            bindings: Vec::new(),
            forwarded: false,
            forwarded_v4: false,
        };
        // Whoever has no address yet is expected to get one of IPv4.
        let has_v4 = gateways.v4.is_some() || gateways.v6.is_none();
        // Whoever has no address of IPv6 is reached with it all the same.
        let by_v4 = gateways.v6.is_none() && has_v4;
        let translated = [modes[0], modes[usize::from(!by_v4)]].map(GatewayMode::translates);
        // Of IPv4 the kernel leaves nothing to do, as long as it may be told what to do.
        let forwarding_v6 = config.forwarders && translated[1] && has_ipv6();
        let forwarding = [config.forwarders && translated[0] && no_firewall, forwarding_v6];
        let options_v6 = if by_v4 { &v4 } else { &v6 };
        // Who binds to a certain address of IPv4 is not to bind to all of IPv6.
        let default = options_v6.bind_v4.map_or(config.default_bind_ip, IpAddr::V4);
        let anywhere = default.is_unspecified() || default.is_ipv6() || options_v6.bind_v6.is_some();
        let bind = [
            has_v4.then(|| bind_address(&v4, config.default_bind_ip, true)),
            ((!by_v4 || forwarding_v6) && anywhere).then(|| bind_address(options_v6, config.default_bind_ip, false)),
        ];
        let target = published.ipv4.map(|t| t.address.into()).or_else(|| published.ipv6.map(|t| t.address.into()));
        let target = target.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        Self { published, bind, translated, forwarding, no_firewall, target }
    }

    /// Whether a shim is to serve ports of a protocol and a family.
    fn forwards(&self, proto: Proto, v6: bool) -> bool {
        self.forwarding[usize::from(v6)] && proto.can_be_forwarded()
    }

    /// The host's addresses that a port is reserved on, and the bindings of families in which nothing is translated.
    fn hosts(&self, request: &PortRequest) -> Result<(Vec<IpAddr>, Vec<PortBinding>)> {
        let has_v6 = self.published.ipv6.is_some() || self.forwards(request.proto, true);
        let wanted = match &request.host_ip {
            Some(ip @ IpAddr::V6(_)) if !has_v6 => return Err(Error::PortOnIpv6(*ip)),
            Some(ip) => slice::from_ref(ip).to_vec(),
            None => self.bind.iter().flatten().copied().filter(|ip| ip.is_ipv4() || has_v6).collect(),
        };
        let (host, untranslated): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|ip| self.translated[usize::from(ip.is_ipv6())]);
        let PortRequest { container_port, proto, .. } = *request;
        if self.no_firewall && host.iter().any(|ip| !self.forwards(proto, ip.is_ipv6())) {
            return Err(Error::FirewallDisabled);
        }
        let binding = |host_ip| PortBinding { container_port, proto, host_ip, host_port: 0 };
        Ok((host, untranslated.into_iter().map(binding).collect()))
    }
}

fn target_v4(endpoint: Option<&Endpoint>) -> Option<Target<std::net::Ipv4Addr>> {
    endpoint.and_then(|e| e.ipv4.map(|(address, _)| Target { network: e.network, address }))
}

fn target_v6(endpoint: Option<&Endpoint>) -> Option<Target<std::net::Ipv6Addr>> {
    endpoint.and_then(|e| e.ipv6.map(|(address, _)| Target { network: e.network, address }))
}
