//! The rules themselves.

use super::elements::interface;
use super::{
    BRIDGES, FORWARDED, FORWARDED_ON, INTERNAL, LINKS, LOOPS, MASQUERADE, NEIGHBOURS, NetworkRules, OPEN, PUBLISHED,
    PUBLISHED_ON, SPECIAL, USER, interface_element,
};
use crate::spec::GatewayMode;
use gantry_linux::netlink::nft::{
    Address, ChainType, CtState, Data, Element, Family, Hook, Interface, Transaction, Verdict,
};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The chains whose rules are Gantry's.
const GUARD: &str = "guard";
const INCOMING: &str = "translate-incoming";
const LOCAL: &str = "translate-local";
const TRANSLATE: &str = "translate";
const LEAVING: &str = "masquerade";
const INPUT: &str = "input";
const SERVE: &str = "serve";
const FORWARD: &str = "forward";

/// The host's loopback network.
const LOOPBACK: (Ipv4Addr, u8) = (Ipv4Addr::new(127, 0, 0, 0), 8);

/// The priorities that `nft` calls raw, dstnat, srcnat and filter.
const RAW: i32 = -300;
const DSTNAT: i32 = -100;
const SRCNAT: i32 = 100;
const FILTER: i32 = 0;

const ICMP: [u8; 2] = [1, 58];

/// Writes the rules that are the same whatever networks there are.
pub(super) fn write(change: &mut Transaction<'_>, direct: bool) {
    for chain in [TRANSLATE, SERVE] {
        change.add_chain(chain, "");
        change.flush_chain(chain);
    }
    for (chain, kind, hook, priority) in [
        (GUARD, ChainType::Filter, Hook::Prerouting, RAW),
        (INCOMING, ChainType::Nat, Hook::Prerouting, DSTNAT),
        (LOCAL, ChainType::Nat, Hook::Output, DSTNAT),
        (LEAVING, ChainType::Nat, Hook::Postrouting, SRCNAT),
        (INPUT, ChainType::Filter, Hook::Input, FILTER),
        (FORWARD, ChainType::Filter, Hook::Forward, FILTER),
    ] {
        change.add_base_chain(chain, kind, hook, priority);
        change.flush_chain(chain);
    }
    translation(change);
    leaving(change);
    serving(change);
    forwarding(change, direct);
}

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
    // The kernel lets no packet with a source of ::1 leave the loopback, and has no setting for it. The containers'
    // shims serve such ports.
    change.add_rule(LOCAL, |r| {
        r.address_in(Address::Destination, true, Ipv6Addr::LOCALHOST, 128).verdict(Verdict::Accept);
    });
    for chain in [INCOMING, LOCAL] {
        change.add_rule(chain, |r| {
            r.local(Address::Destination, true).verdict(Verdict::Jump(TRANSLATE));
        });
    }
    for (i, family) in Family::ALL.into_iter().enumerate() {
        change.add_rule(TRANSLATE, |r| {
            r.translate_destination(family, PUBLISHED_ON[i], true);
        });
        change.add_rule(TRANSLATE, |r| {
            r.translate_destination(family, PUBLISHED[i], false);
        });
    }
}

/// The rules that change sources.
fn leaving(change: &mut Transaction<'_>) {
    // A program on the host that talks to 127.0.0.1 has that as its source address too, which means nothing
    // in the container: it gets the bridge's address. (The kernel sends and takes back such packets on
    // an interface other than the loopback only where route_localnet is set: on our bridges.)
    change.add_rule(LEAVING, |r| {
        r.address_in(Address::Source, true, LOOPBACK.0, LOOPBACK.1)
            .interface_in(Interface::Output, true, BRIDGES)
            .masquerade();
    });
    // A container that reaches itself or a neighbour by a published port: the answer would go straight to
    // it over the bridge, from an address that it never talked to. So it has to come back through the host.
    change.add_rule(LEAVING, |r| {
        r.interfaces_in(true, LOOPS).connection(CtState::DestinationTranslated).masquerade();
    });
    // The same where br_netfilter turns such a packet round inside the bridge, where it has no interface to have come
    // in by. Neither have the host's own packets, whose source address is to be kept.
    change.add_rule(LEAVING, |r| {
        r.interface_in(Interface::Output, true, BRIDGES)
            .without_input()
            .connection(CtState::DestinationTranslated)
            .local(Address::Source, false)
            .masquerade();
    });
    change.add_rule(LEAVING, |r| {
        r.interfaces_in(true, LOOPS).verdict(Verdict::Accept);
    });
    for (i, family) in Family::ALL.into_iter().enumerate() {
        change.add_rule(LEAVING, |r| {
            r.family(family).interface_in(Interface::Input, true, MASQUERADE[i]).masquerade();
        });
    }
}

/// The rules about what shims carry: as if it were forwarded.
fn serving(change: &mut Transaction<'_>) {
    change.add_rule(INPUT, |r| {
        r.destination_port_in(Family::Ipv6, FORWARDED).verdict(Verdict::Jump(SERVE));
    });
    change.add_rule(INPUT, |r| {
        r.destination_in(Family::Ipv6, FORWARDED_ON).verdict(Verdict::Jump(SERVE));
    });
    change.add_rule(SERVE, |r| {
        r.interface(Interface::Input, false, "lo").verdict(Verdict::Jump(USER));
    });
    change.add_rule(SERVE, |r| {
        r.interface_in(Interface::Input, true, INTERNAL).verdict(Verdict::Drop);
    });
}

/// The rules that decide who reaches whom.
fn forwarding(change: &mut Transaction<'_>, direct: bool) {
    let jump = Verdict::Jump(USER);
    change.add_rule(FORWARD, |r| {
        r.interface_in(Interface::Output, true, BRIDGES).verdict(jump);
    });
    change.add_rule(FORWARD, |r| {
        r.interface_in(Interface::Output, false, BRIDGES).interface_in(Interface::Input, true, BRIDGES).verdict(jump);
    });
    // Connection tracking does not ask where a packet comes in. Without this a container that makes packets itself
    // (`NET_RAW`, which all have) could answer in the place of whomever a container of another network talks to.
    change.add_rule(FORWARD, |r| {
        r.interface_in(Interface::Input, true, BRIDGES)
            .interface_in(Interface::Output, true, BRIDGES)
            .interfaces_in(false, LOOPS)
            .from_elsewhere()
            .verdict(Verdict::Drop);
    });
    change.add_rule(FORWARD, |r| {
        r.interface_in(Interface::Output, true, BRIDGES)
            .connection(CtState::EstablishedOrRelated)
            .verdict(Verdict::Accept);
    });
    // Seen here only where br_netfilter shows bridged packets to this hook.
    change.add_rule(FORWARD, |r| {
        r.interfaces_in(true, NEIGHBOURS).verdict(Verdict::Accept);
    });
    for interface in [Interface::Input, Interface::Output] {
        change.add_rule(FORWARD, |r| {
            r.interface_in(interface, true, INTERNAL).verdict(Verdict::Drop);
        });
    }
    change.add_rule(FORWARD, |r| {
        r.interface_in(Interface::Output, true, BRIDGES)
            .connection(CtState::DestinationTranslated)
            .verdict(Verdict::Accept);
    });
    change.add_rule(FORWARD, |r| {
        r.interfaces_in(true, LOOPS).conversation_in(Family::Ipv4, LINKS).verdict(Verdict::Accept);
    });
    for (i, family) in Family::ALL.into_iter().enumerate().filter(|_| direct) {
        change.add_rule(FORWARD, |r| {
            r.destination_in(family, OPEN[i]).verdict(Verdict::Accept);
        });
    }
    change.add_rule(FORWARD, |r| {
        r.jump_by_interface(Interface::Output, SPECIAL);
    });
    change.add_rule(FORWARD, |r| {
        r.interface_in(Interface::Output, true, BRIDGES).verdict(Verdict::Drop);
    });
}

/// Puts a network into the sets, and makes its own chain if it has one.
pub(super) fn add_network(change: &mut Transaction<'_>, network: &NetworkRules) {
    if network.is_special() {
        let chain = network.chain();
        change.add_chain(&chain, &network.bridge);
        change.flush_chain(&chain);
        special(change, network, &chain);
    }
    for (set, element) in memberships(network) {
        change.add_elements(set, &[element]);
    }
}

/// Takes it out again.
pub(super) fn remove_network(change: &mut Transaction<'_>, network: &NetworkRules) {
    let chain = network.chain();
    if network.is_special() {
        // Elements are added before they are removed, and that one leads there.
        change.add_chain(&chain, "");
    }
    for (set, element) in memberships(network) {
        change.remove_elements(set, &[element]);
    }
    if network.is_special() {
        change.flush_chain(&chain);
        change.delete_chain(&chain);
    }
}

fn memberships(network: &NetworkRules) -> Vec<(&'static str, Element)> {
    let bridge = || interface_element(&network.bridge);
    let pair = || {
        let name = interface(&network.bridge);
        Element { key: [name.clone(), name].concat(), data: Data::None }
    };
    let mut all = vec![(BRIDGES, bridge()), (LOOPS, pair())];
    if network.neighbours {
        all.push((NEIGHBOURS, pair()));
    }
    if network.internal {
        all.push((INTERNAL, bridge()));
    }
    for (set, _) in MASQUERADE.into_iter().zip(network.masquerade).filter(|(_, wanted)| *wanted) {
        all.push((set, bridge()));
    }
    if network.is_special() {
        all.push((SPECIAL, Element { key: interface(&network.bridge), data: Data::Jump(network.chain()) }));
    }
    all
}

/// What is let through to a network beside what is let through to all.
fn special(change: &mut Transaction<'_>, network: &NetworkRules, chain: &str) {
    for (i, family) in Family::ALL.into_iter().enumerate() {
        match network.modes[i] {
            GatewayMode::NatUnprotected => change.add_rule(chain, |r| {
                r.family(family).verdict(Verdict::Accept);
            }),
            GatewayMode::Routed => {
                change.add_rule(chain, |r| {
                    r.destination_in(family, OPEN[i]).verdict(Verdict::Accept);
                });
                // Whoever is to be reached by address is to be pinged, too.
                change.add_rule(chain, |r| {
                    r.family(family).protocol(ICMP[i]).verdict(Verdict::Accept);
                });
            }
            GatewayMode::Nat | GatewayMode::Isolated => {}
        }
        for name in &network.trusted {
            change.add_rule(chain, |r| {
                r.interface(Interface::Input, true, name).destination_in(family, OPEN[i]).verdict(Verdict::Accept);
            });
        }
    }
}
