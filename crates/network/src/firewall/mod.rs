//! The nftables table of this daemon. Networks and ports are elements of sets and maps, so that making or publishing
//! one changes no rule, and a packet's way is as long with a thousand networks as with one.
//!
//! ```text
//! table inet gantry {
//!     set bridges                   the bridges of the networks
//!     set loops                     each bridge twice: packets that leave by where they came in
//!     set neighbours                those of them whose members may talk to each other
//!     set internal                  bridges without a way out
//!     set masquerade, masquerade6   bridges whose members use the host's address outside
//!     set links                     member . member . protocol . port: let through all the same
//!     set open, open6               member . protocol . port: published on the member's own address
//!     set forwarded-on              host address . protocol . port: served by the shim of a container
//!     set forwarded                 protocol . port: the same, on any host address
//!     map published-on, -on6        host address . protocol . port : member . port
//!     map published, published6     protocol . port : member . port   (any host address)
//!     map special                   bridge : chain of its own, for networks with settings that few have
//!     chain guard                   prerouting, before connection tracking
//!     chain translate-incoming      prerouting, nat
//!     chain translate-local         output, nat
//!     chain translate               -> looks the maps up
//!     chain masquerade              postrouting, nat
//!     chain input                   input
//!     chain serve                   -> what goes to the shim of a container
//!     chain forward                 forward: what goes to a bridge, what comes from one
//!     chain gantry-user             -> the administrator's own rules
//! }
//! ```
//!
//! An `accept` here ends only this table's say: chains of other tables in the same hooks see the packet too, and
//! their `drop` is final. So the host's firewall decides who reaches published ports, and this table can only
//! narrow that. `gantry-user` sees each packet from or to a container before anything here decides on it (after
//! address translation; the port before it is `ct original proto-dst`). Gantry never changes what is in it.

mod elements;
mod rules;

pub(crate) use elements::{LinkRule, PortElements};

use crate::spec::{BridgeOptions, GatewayMode};
use crate::{Driver, Error, NetworkSpec, Result};
use gantry_linux::netlink::nft::{self, Element, Set, Transaction, Type};
use gantry_linux::netlink::{self, Socket};
use gantry_model::Id;
use rustix::io::Errno;

const BRIDGES: &str = "bridges";
const LOOPS: &str = "loops";
const NEIGHBOURS: &str = "neighbours";
const INTERNAL: &str = "internal";
const MASQUERADE: [&str; 2] = ["masquerade", "masquerade6"];
const LINKS: &str = "links";
const OPEN: [&str; 2] = ["open", "open6"];
const PUBLISHED: [&str; 2] = ["published", "published6"];
const PUBLISHED_ON: [&str; 2] = ["published-on", "published-on6"];
const FORWARDED: &str = "forwarded";
const FORWARDED_ON: &str = "forwarded-on";
const SPECIAL: &str = "special";

pub(crate) const USER: &str = "gantry-user";

const COMMENT: &str = "made by gantry, the container engine";

/// What the rules say about one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NetworkRules {
    id: Id,
    bridge: String,
    internal: bool,
    /// Whether its members reach each other.
    neighbours: bool,
    /// Whether its members reach the outside under the host's address, by family.
    masquerade: [bool; 2],
    /// How its members are reached, by family.
    modes: [GatewayMode; 2],
    trusted: Vec<String>,
}

impl NetworkRules {
    /// `None` for networks that the host's firewall has no part in.
    pub(crate) fn of(spec: &NetworkSpec) -> Option<Self> {
        let Driver::Bridge(options) = &spec.driver else { return None };
        let masquerade = |wanted: bool, mode: GatewayMode| wanted && !spec.internal && mode.translates();
        let BridgeOptions { gateway_mode_v4, gateway_mode_v6, .. } = *options;
        Some(Self {
            id: spec.id,
            bridge: options.ifname.clone(),
            internal: spec.internal,
            neighbours: options.icc,
            masquerade: [
                masquerade(options.masquerade_v4, gateway_mode_v4),
                masquerade(options.masquerade_v6, gateway_mode_v6),
            ],
            modes: [gateway_mode_v4, gateway_mode_v6],
            trusted: options.trusted_interfaces.clone(),
        })
    }

    /// Whether published ports are open on the members' own addresses, to somebody, by family.
    pub(crate) fn opens(&self) -> [bool; 2] {
        self.modes.map(|mode| mode == GatewayMode::Routed || !self.trusted.is_empty())
    }

    /// Whether it has a chain of its own.
    fn is_special(&self) -> bool {
        let special = |mode: &GatewayMode| matches!(mode, GatewayMode::Routed | GatewayMode::NatUnprotected);
        !self.internal && (self.modes.iter().any(special) || !self.trusted.is_empty())
    }

    fn chain(&self) -> String {
        format!("{NETWORK_CHAIN}{}", &self.id.to_string()[..12])
    }
}

/// What networks' own chains are called, before the beginning of the network's id.
const NETWORK_CHAIN: &str = "network-";
/// Chains that earlier versions had.
const OLD_CHAINS: [&str; 1] = ["to-containers"];

/// Everything that there is to be in the sets.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) networks: Vec<NetworkRules>,
    pub(crate) ports: PortElements,
    pub(crate) links: Vec<LinkRule>,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Firewall {
    table: String,
    /// Whether published ports are open on the members' own addresses.
    direct: bool,
}

impl Firewall {
    pub(crate) fn new(table: String, direct: bool) -> Self {
        Self { table, direct }
    }

    /// The table's name.
    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    pub(crate) fn exists(&self, socket: &mut Socket) -> Result<bool> {
        nft::table_exists(socket, &self.table).map_err(|e| self.error("look for", e))
    }

    /// Makes the table what it should be in one transaction, in which packets see either the old or the new
    /// one, and leaves `gantry-user` alone. Known connections are connection tracking's and go on.
    pub(crate) fn rebuild(&self, socket: &mut Socket, content: &Content) -> Result<()> {
        let chains =
            nft::chains(socket, nft::Where::inet(&self.table)).map_err(|e| self.error("list the chains of", e))?;
        let mut change = Transaction::new(&self.table);
        self.write(&mut change, content, &chains);
        let outcome = change.commit(socket);
        let Err(e) = outcome else { return Ok(()) };
        if !matches!(e.errno(), Some(Errno::EXIST | Errno::BUSY | Errno::OPNOTSUPP | Errno::INVAL)) {
            return Err(self.error("write", e));
        }
        // Another version's table, whose sets or chains differ: nothing in it can be kept.
        tracing::warn!(table = self.table, "replacing an nftables table of another layout, with its {USER} chain");
        let mut change = Transaction::new(&self.table);
        change.add_table(COMMENT);
        change.delete_table();
        self.write(&mut change, content, &[]);
        change.commit(socket).map_err(|e| self.error("write", e))
    }

    /// Lets a network's packets through.
    pub(crate) fn add_network(&self, socket: &mut Socket, network: &NetworkRules) -> Result<(), netlink::Error> {
        let mut change = Transaction::new(&self.table);
        rules::add_network(&mut change, network);
        change.commit(socket)
    }

    /// Forgets a network. A table that is gone knows none.
    pub(crate) fn remove_network(&self, socket: &mut Socket, network: &NetworkRules) -> Result<()> {
        let mut change = Transaction::new(&self.table);
        rules::remove_network(&mut change, network);
        self.unless_missing("remove a network from", change.commit(socket))
    }

    /// Opens ports.
    pub(crate) fn publish(&self, socket: &mut Socket, ports: &PortElements) -> Result<(), netlink::Error> {
        let mut change = Transaction::new(&self.table);
        ports.for_each(|set, elements| change.add_elements(set, elements));
        change.commit(socket)
    }

    /// Closes ports. A table that is gone has none open.
    pub(crate) fn withdraw(&self, socket: &mut Socket, ports: &PortElements) -> Result<()> {
        let mut change = Transaction::new(&self.table);
        ports.for_each(|set, elements| change.remove_elements(set, elements));
        self.unless_missing("remove ports from", change.commit(socket))
    }

    /// Closes some ports and opens others, at once.
    pub(crate) fn exchange(
        &self,
        socket: &mut Socket,
        old: &PortElements,
        new: &PortElements,
    ) -> Result<(), netlink::Error> {
        let mut change = Transaction::new(&self.table);
        old.for_each(|set, elements| change.remove_elements(set, elements));
        new.for_each(|set, elements| change.add_elements(set, elements));
        change.commit(socket)
    }

    /// Lets members of a network whose members do not reach each other do so after all.
    pub(crate) fn link(&self, socket: &mut Socket, links: &[LinkRule]) -> Result<(), netlink::Error> {
        let mut change = Transaction::new(&self.table);
        change.add_elements(LINKS, &elements::links(links));
        change.commit(socket)
    }

    /// Ends that.
    pub(crate) fn unlink(&self, socket: &mut Socket, links: &[LinkRule]) -> Result<()> {
        let mut change = Transaction::new(&self.table);
        change.remove_elements(LINKS, &elements::links(links));
        self.unless_missing("remove links from", change.commit(socket))
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

    fn unless_missing(&self, verb: &str, outcome: Result<(), netlink::Error>) -> Result<()> {
        match outcome {
            Err(e) if !is_missing(&e) => Err(self.error(verb, e)),
            _ => Ok(()),
        }
    }

    /// `there` are the chains that exist.
    fn write(&self, change: &mut Transaction<'_>, content: &Content, there: &[String]) {
        change.add_table(COMMENT);
        for set in SETS {
            change.add_set(*set);
            change.flush_set(set.name);
        }
        change.add_chain(USER, "for your own rules; never changed by gantry");
        rules::write(change, self.direct);
        for network in &content.networks {
            rules::add_network(change, network);
        }
        content.ports.for_each(|set, elements| change.add_elements(set, elements));
        change.add_elements(LINKS, &elements::links(&content.links));
        // After the rules that led there are gone: chains of networks that are no more, and of older versions.
        let ours: Vec<_> = content.networks.iter().filter(|n| n.is_special()).map(NetworkRules::chain).collect();
        let was_ours = |name: &&String| name.starts_with(NETWORK_CHAIN) || OLD_CHAINS.contains(&name.as_str());
        let strays: Vec<_> = there.iter().filter(was_ours).filter(|name| !ours.contains(name)).collect();
        for name in &strays {
            change.flush_chain(name);
        }
        for name in &strays {
            change.delete_chain(name);
        }
    }
}

/// The sets and maps.
const SETS: &[Set<'_>] = &{
    use Type::{Ifname, Ipv4, Ipv6, Port, Proto, Verdict};
    const fn set(name: &'static str, key: &'static [Type], data: &'static [Type]) -> Set<'static> {
        Set { name, key, data }
    }
    [
        set(BRIDGES, &[Ifname], &[]),
        set(LOOPS, &[Ifname, Ifname], &[]),
        set(NEIGHBOURS, &[Ifname, Ifname], &[]),
        set(INTERNAL, &[Ifname], &[]),
        set(MASQUERADE[0], &[Ifname], &[]),
        set(MASQUERADE[1], &[Ifname], &[]),
        set(LINKS, &[Ipv4, Ipv4, Proto, Port], &[]),
        set(OPEN[0], &[Ipv4, Proto, Port], &[]),
        set(OPEN[1], &[Ipv6, Proto, Port], &[]),
        set(FORWARDED, &[Proto, Port], &[]),
        set(FORWARDED_ON, &[Ipv6, Proto, Port], &[]),
        set(PUBLISHED[0], &[Proto, Port], &[Ipv4, Port]),
        set(PUBLISHED[1], &[Proto, Port], &[Ipv6, Port]),
        set(PUBLISHED_ON[0], &[Ipv4, Proto, Port], &[Ipv4, Port]),
        set(PUBLISHED_ON[1], &[Ipv6, Proto, Port], &[Ipv6, Port]),
        set(SPECIAL, &[Ifname], &[Verdict]),
    ]
};

/// Whether the table, or one of its sets, is not there.
pub(crate) fn is_missing(e: &netlink::Error) -> bool {
    e.errno() == Some(Errno::NOENT)
}

/// The elements that stand for an interface.
fn interface_element(name: &str) -> Element {
    Element { key: elements::interface(name), data: nft::Data::None }
}
