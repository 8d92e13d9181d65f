//! The nftables table of this daemon. Ports are elements of maps, so that publishing one changes no rule.
//!
//! ```text
//! table inet gantry {
//!     set bridges                   the bridges of the networks
//!     map published-on              host address . protocol . port : container address . port
//!     map published                 protocol . port : container address . port   (any host address)
//!     chain guard                   prerouting, before connection tracking
//!     chain translate-incoming      prerouting, nat
//!     chain translate-local         output, nat
//!     chain translate               -> looks the maps up
//!     chain masquerade              postrouting, nat
//!     chain forward                 forward: what goes to a bridge, what comes from one
//!     chain to-containers           -> which packets may go to a bridge
//!     chain gantry-user             -> the administrator's own rules
//! }
//! ```
//!
//! An `accept` here ends only this table's say: chains of other tables in the same hooks see the packet too, and
//! their `drop` is final. So the host's firewall decides who reaches published ports, and this table can only
//! narrow that. `gantry-user` sees each packet from or to a container before anything here decides on it (after
//! address translation; the port before it is `ct original proto-dst`). Gantry never changes what is in it.

use crate::subnet::Subnet;
use crate::{Endpoint, Error, PortBinding, Result};
use gantry_linux::netlink::nft::{
    self, Address, ChainType, CtState, Element, Hook, Interface, Set, Transaction, Type, Verdict,
};
use gantry_linux::netlink::{self, Socket};
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr};

const BRIDGES: &str = "bridges";
const PUBLISHED: &str = "published";
const PUBLISHED_ON: &str = "published-on";
const USER: &str = "gantry-user";

/// The chains whose rules are Gantry's.
const GUARD: &str = "guard";
const INCOMING: &str = "translate-incoming";
const LOCAL: &str = "translate-local";
const TRANSLATE: &str = "translate";
const MASQUERADE: &str = "masquerade";
const FORWARD: &str = "forward";
const TO_CONTAINERS: &str = "to-containers";

/// The host's loopback network.
const LOOPBACK: (Ipv4Addr, u8) = (Ipv4Addr::new(127, 0, 0, 0), 8);

/// The priorities that `nft` calls raw, dstnat, srcnat and filter.
const RAW: i32 = -300;
const DSTNAT: i32 = -100;
const SRCNAT: i32 = 100;
const FILTER: i32 = 0;

/// What the rules say about one network.
#[derive(Debug, Clone)]
pub(crate) struct NetworkRules {
    pub(crate) bridge: String,
    pub(crate) subnet: Subnet,
    /// Whether its containers reach the outside under the host's address.
    pub(crate) masquerade: bool,
    /// Whether its containers reach each other.
    pub(crate) internal_traffic: bool,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Firewall {
    table: String,
    networks: Vec<NetworkRules>,
}

impl Firewall {
    pub(crate) fn new(table: String, networks: Vec<NetworkRules>) -> Self {
        Self { table, networks }
    }

    pub(crate) fn exists(&self, socket: &mut Socket) -> Result<bool> {
        nft::table_exists(socket, &self.table).map_err(|e| self.error("look for", e))
    }

    /// Makes the table what it should be in one transaction, in which packets see either the old or the new
    /// one, and leaves `gantry-user` alone. Known connections are connection tracking's and go on.
    pub(crate) fn rebuild<'a>(&self, socket: &mut Socket, endpoints: impl Iterator<Item = &'a Endpoint>) -> Result<()> {
        let (any, on): (Vec<_>, Vec<_>) = elements(endpoints);
        let mut change = Transaction::new(&self.table);
        self.write(&mut change, &any, &on);
        let outcome = change.commit(socket);
        let Err(e) = outcome else { return Ok(()) };
        if !matches!(e.errno(), Some(Errno::EXIST | Errno::BUSY | Errno::OPNOTSUPP)) {
            return Err(self.error("write", e));
        }
        // Another version's table, whose sets or chains differ: nothing in it can be kept.
        tracing::warn!(table = self.table, "replacing an nftables table of another layout, with its {USER} chain");
        let mut change = Transaction::new(&self.table);
        change.add_table(COMMENT);
        change.delete_table();
        self.write(&mut change, &any, &on);
        change.commit(socket).map_err(|e| self.error("write", e))
    }

    /// Opens the ports of an endpoint.
    pub(crate) fn publish(&self, socket: &mut Socket, endpoint: &Endpoint) -> Result<(), netlink::Error> {
        let (any, on) = elements(std::iter::once(endpoint));
        let mut change = Transaction::new(&self.table);
        change.add_elements(PUBLISHED, &any);
        change.add_elements(PUBLISHED_ON, &on);
        change.commit(socket)
    }

    /// Closes the ports of an endpoint. A table that is gone has none open.
    pub(crate) fn withdraw(&self, socket: &mut Socket, endpoint: &Endpoint) -> Result<()> {
        let (any, on) = elements(std::iter::once(endpoint));
        let mut change = Transaction::new(&self.table);
        change.remove_elements(PUBLISHED, &any);
        change.remove_elements(PUBLISHED_ON, &on);
        match change.commit(socket) {
            Err(e) if !is_missing(&e) => Err(self.error("remove ports from", e)),
            _ => Ok(()),
        }
    }

    /// Removes the table.
    pub(crate) fn remove(&self, socket: &mut Socket) -> Result<()> {
        let mut change = Transaction::new(&self.table);
        change.add_table(COMMENT);
        change.delete_table();
        change.commit(socket).map_err(|e| self.error("remove", e))
    }

    pub(crate) fn error(&self, verb: &str, source: netlink::Error) -> Error {
        Error::kernel(format!("{verb} nftables table inet {}", self.table))(source.into())
    }

    fn write(&self, change: &mut Transaction<'_>, any: &[Element], on: &[Element]) {
        let endpoint = [Type::Ipv4, Type::Port];
        change.add_table(COMMENT);
        for set in [
            Set { name: BRIDGES, key: &[Type::Ifname], data: &[] },
            Set { name: PUBLISHED, key: &[Type::Proto, Type::Port], data: &endpoint },
            Set { name: PUBLISHED_ON, key: &[Type::Ipv4, Type::Proto, Type::Port], data: &endpoint },
        ] {
            change.add_set(set);
            change.flush_set(set.name);
        }
        change.add_chain(USER, "for your own rules; never changed by gantry");
        for chain in [TRANSLATE, TO_CONTAINERS] {
            change.add_chain(chain, "");
            change.flush_chain(chain);
        }
        for (chain, kind, hook, priority) in [
            (GUARD, ChainType::Filter, Hook::Prerouting, RAW),
            (INCOMING, ChainType::Nat, Hook::Prerouting, DSTNAT),
            (LOCAL, ChainType::Nat, Hook::Output, DSTNAT),
            (MASQUERADE, ChainType::Nat, Hook::Postrouting, SRCNAT),
            (FORWARD, ChainType::Filter, Hook::Forward, FILTER),
        ] {
            change.add_base_chain(chain, kind, hook, priority);
            change.flush_chain(chain);
        }
        translation(change);
        self.masquerading(change);
        self.forwarding(change);
        let bridges: Vec<_> = self.networks.iter().map(|n| bridge_element(&n.bridge)).collect();
        change.add_elements(BRIDGES, &bridges);
        change.add_elements(PUBLISHED, any);
        change.add_elements(PUBLISHED_ON, on);
    }

    fn masquerading(&self, change: &mut Transaction<'_>) {
        // A program on the host that talks to 127.0.0.1 has that as its source address too, which means nothing
        // in the container: it gets the bridge's address. (The kernel sends and takes back such packets on
        // an interface other than the loopback only where route_localnet is set: on our bridges.)
        change.add_rule(MASQUERADE, |r| {
            r.address_in(Address::Source, true, LOOPBACK.0, LOOPBACK.1)
                .interface_in(Interface::Output, true, BRIDGES)
                .masquerade();
        });
        for network in &self.networks {
            let (subnet, prefix_len) = (network.subnet.network(), network.subnet.prefix_len());
            // A container that reaches itself or a neighbour by a published port: the answer would go straight to
            // it over the bridge, from an address that it never talked to. So it has to come back through the host.
            change.add_rule(MASQUERADE, |r| {
                r.interface(Interface::Output, true, &network.bridge)
                    .address_in(Address::Source, true, subnet, prefix_len)
                    .connection(CtState::DestinationTranslated)
                    .masquerade();
            });
            if network.masquerade {
                change.add_rule(MASQUERADE, |r| {
                    r.address_in(Address::Source, true, subnet, prefix_len)
                        .interface(Interface::Output, false, &network.bridge)
                        .masquerade();
                });
            }
        }
    }

    fn forwarding(&self, change: &mut Transaction<'_>) {
        change.add_rule(FORWARD, |r| {
            r.interface_in(Interface::Output, true, BRIDGES).verdict(Verdict::Jump(TO_CONTAINERS));
        });
        change.add_rule(FORWARD, |r| {
            r.interface_in(Interface::Input, true, BRIDGES).verdict(Verdict::Jump(USER));
        });
        change.add_rule(TO_CONTAINERS, |r| {
            r.verdict(Verdict::Jump(USER));
        });
        for state in [CtState::EstablishedOrRelated, CtState::DestinationTranslated] {
            change.add_rule(TO_CONTAINERS, |r| {
                r.connection(state).verdict(Verdict::Accept);
            });
        }
        for network in self.networks.iter().filter(|n| n.internal_traffic) {
            // Seen here only where br_netfilter shows bridged packets to this hook.
            change.add_rule(TO_CONTAINERS, |r| {
                r.interface(Interface::Input, true, &network.bridge)
                    .interface(Interface::Output, true, &network.bridge)
                    .verdict(Verdict::Accept);
            });
        }
        change.add_rule(TO_CONTAINERS, |r| {
            r.verdict(Verdict::Drop);
        });
    }
}

const COMMENT: &str = "made by gantry, the container engine";

/// The rules that send packets for published ports to their containers.
fn translation(change: &mut Transaction<'_>) {
    // The host's loopback addresses are nobody else's business. Normally the kernel drops such packets from
    // the wire when it routes them, but route_localnet on our bridges switches that off there (CVE-2020-8558),
    // and translation happens before routing, so that a port published on 127.0.0.1 would be open to
    // every neighbour. Before connection tracking, hence not in the way of answers that it turns back.
    change.add_rule(GUARD, |r| {
        r.interface(Interface::Input, false, "lo")
            .address_in(Address::Destination, true, LOOPBACK.0, LOOPBACK.1)
            .verdict(Verdict::Drop);
    });
    for chain in [INCOMING, LOCAL] {
        change.add_rule(chain, |r| {
            r.to_local_address().verdict(Verdict::Jump(TRANSLATE));
        });
    }
    change.add_rule(TRANSLATE, |r| {
        r.translate_destination(PUBLISHED_ON, true);
    });
    change.add_rule(TRANSLATE, |r| {
        r.translate_destination(PUBLISHED, false);
    });
}

/// Whether the table, or one of its sets, is not there.
pub(crate) fn is_missing(e: &netlink::Error) -> bool {
    e.errno() == Some(Errno::NOENT)
}

/// The elements for the endpoints' ports: on any host address, on a certain one.
fn elements<'a>(endpoints: impl Iterator<Item = &'a Endpoint>) -> (Vec<Element>, Vec<Element>) {
    let (mut any, mut on) = (Vec::new(), Vec::new());
    for (endpoint, port) in endpoints.flat_map(|e| e.ports.iter().map(move |p| (e, p))) {
        let list = if port.host_ip.is_unspecified() { &mut any } else { &mut on };
        list.push(port_element(endpoint.ip, port));
    }
    (any, on)
}

fn port_element(container: Ipv4Addr, binding: &PortBinding) -> Element {
    let mut key = Vec::with_capacity(12);
    if let IpAddr::V4(ip) = binding.host_ip
        && !ip.is_unspecified()
    {
        key.extend_from_slice(&ip.octets());
    }
    key.extend_from_slice(&[binding.proto.number(), 0, 0, 0]);
    key.extend_from_slice(&port_register(binding.host_port));
    let mut data = container.octets().to_vec();
    data.extend_from_slice(&port_register(binding.container_port));
    Element { key, data }
}

/// A port as it stands in a register: in network byte order, then zeros.
fn port_register(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

fn bridge_element(name: &str) -> Element {
    let mut key = name.as_bytes().to_vec();
    key.resize(16, 0);
    Element { key, data: Vec::new() }
}
