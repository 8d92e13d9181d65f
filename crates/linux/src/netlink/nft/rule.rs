//! Rules: chains of expressions, each of which goes on to the next only if it matches.

use super::super::Attrs;
use super::{NFT_JUMP, NFTA_DATA_VALUE, NFTA_DATA_VERDICT, NFTA_LIST_ELEM};
use std::net::IpAddr;

/// Where a verdict is put.
const VERDICT_REGISTER: u32 = 0;
/// The first 128-bit register. It overlays the first four 32-bit ones.
const REG_1: u32 = 1;
/// The first 32-bit register; the others follow.
const REG32_00: u32 = 8;

const CMP_EQ: u32 = 0;
const CMP_NEQ: u32 = 1;

/// Keys of `meta`.
const META_IIF: u32 = 4;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;

/// Network and transport header, as `payload` counts them.
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;

/// TCP, UDP and SCTP headers all have the destination port there.
const DESTINATION_PORT: u32 = 2;

/// Which of a packet's interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    /// The one it came in by.
    Input,
    /// The one it goes out by.
    Output,
}

impl Interface {
    const fn meta_key(self) -> u32 {
        match self {
            Self::Input => 6,
            Self::Output => 7,
        }
    }
}

/// Which of a packet's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// Where it is from.
    Source,
    /// Where it goes.
    Destination,
}

impl Address {
    /// Where in the header it is.
    const fn offset(self, family: Family) -> u32 {
        match (self, family) {
            (Self::Source, Family::Ipv4) => 12,
            (Self::Destination, Family::Ipv4) => 16,
            (Self::Source, Family::Ipv6) => 8,
            (Self::Destination, Family::Ipv6) => 24,
        }
    }

    /// Which one `fib` looks up.
    const fn fib_flag(self) -> u32 {
        match self {
            Self::Source => 1,
            Self::Destination => 2,
        }
    }
}

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// netfilter's number.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Ipv4 => 2,
            Self::Ipv6 => 10,
        }
    }

    /// The bytes of an address.
    const fn size(self) -> u32 {
        match self {
            Self::Ipv4 => 4,
            Self::Ipv6 => 16,
        }
    }
}

/// What connection tracking says about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CtState {
    /// It belongs to a known connection, or to one's errors or side channels.
    EstablishedOrRelated,
    /// Its connection's destination has been translated.
    DestinationTranslated,
}

/// How a rule ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Done with this base chain; other tables' chains still decide.
    Accept,
    /// Gone for good.
    Drop,
    /// On in another chain, and back after its end.
    Jump(&'a str),
}

/// A rule under construction.
#[derive(Debug)]
pub struct Rule<'r, 'a> {
    attrs: &'r mut Attrs<'a>,
}

impl<'r, 'a> Rule<'r, 'a> {
    pub(super) fn new(attrs: &'r mut Attrs<'a>) -> Self {
        Self { attrs }
    }

    /// The packet is of that family. A table of family `inet` must ask before it looks at addresses.
    pub fn family(&mut self, family: Family) -> &mut Self {
        self.meta(META_NFPROTO, REG_1).compare(CMP_EQ, &[family.number()])
    }

    /// The transport protocol has that number.
    pub fn protocol(&mut self, number: u8) -> &mut Self {
        self.meta(META_L4PROTO, REG_1).compare(CMP_EQ, &[number])
    }

    /// The interface is `name`, or any but `name`.
    pub fn interface(&mut self, which: Interface, is: bool, name: &str) -> &mut Self {
        let mut padded = [0; 16];
        let len = name.len().min(15);
        padded[..len].copy_from_slice(&name.as_bytes()[..len]);
        self.meta(which.meta_key(), REG_1).compare(if is { CMP_EQ } else { CMP_NEQ }, &padded)
    }

    /// The interface is one of `set`, or none of it.
    pub fn interface_in(&mut self, which: Interface, is: bool, set: &str) -> &mut Self {
        self.meta(which.meta_key(), REG_1).lookup(set, !is, None)
    }

    /// The pair of the packet's interfaces, the one it came in by first, is in `set`, or is not.
    pub fn interfaces_in(&mut self, is: bool, set: &str) -> &mut Self {
        const REG_2: u32 = 2;
        self.meta(Interface::Input.meta_key(), REG_1).meta(Interface::Output.meta_key(), REG_2).lookup(set, !is, None)
    }

    /// Goes on where `map` says for the interface.
    pub fn jump_by_interface(&mut self, which: Interface, map: &str) -> &mut Self {
        self.meta(which.meta_key(), REG_1).lookup(map, false, Some(VERDICT_REGISTER))
    }

    /// The packet came in by no interface: it is the host's own, or never left a bridge.
    pub fn without_input(&mut self) -> &mut Self {
        self.meta(META_IIF, REG_1).compare(CMP_EQ, &[0; 4])
    }

    /// The address is in the subnet, or is not.
    pub fn address_in(&mut self, which: Address, is: bool, subnet: impl Into<IpAddr>, prefix_len: u8) -> &mut Self {
        let subnet = subnet.into();
        let family = Family::of(subnet);
        let (mut bytes, mut mask) = match subnet {
            IpAddr::V4(ip) => (ip.octets().to_vec(), vec![0; 4]),
            IpAddr::V6(ip) => (ip.octets().to_vec(), vec![0; 16]),
        };
        for (bit, at) in (0..prefix_len).zip((0..mask.len()).flat_map(|i| [i; 8])) {
            mask[at] |= 0x80 >> (bit % 8);
        }
        bytes.iter_mut().zip(&mask).for_each(|(byte, mask)| *byte &= mask);
        self.family(family).payload(NETWORK, which.offset(family), family.size(), REG_1).mask(&mask);
        self.compare(if is { CMP_EQ } else { CMP_NEQ }, &bytes)
    }

    /// The address is one of the host's own, or is not.
    pub fn local(&mut self, which: Address, is: bool) -> &mut Self {
        const ADDRESS_TYPE: u32 = 3;
        const RTN_LOCAL: u32 = 2;
        self.expression("fib", |a| {
            a.be32(1, REG_1).be32(2, ADDRESS_TYPE).be32(3, which.fib_flag());
        });
        self.compare(if is { CMP_EQ } else { CMP_NEQ }, &RTN_LOCAL.to_ne_bytes())
    }

    /// The way to the packet's source does not lead out of the interface that it came in by.
    pub fn from_elsewhere(&mut self) -> &mut Self {
        const INTERFACE: u32 = 1;
        const THAT_IT_CAME_IN_BY: u32 = 8;
        self.expression("fib", |a| {
            a.be32(1, REG_1).be32(2, INTERFACE).be32(3, Address::Source.fib_flag() | THAT_IT_CAME_IN_BY);
        });
        self.compare(CMP_EQ, &[0; 4])
    }

    /// Destination address, protocol and port are in `set`.
    pub fn destination_in(&mut self, family: Family, set: &str) -> &mut Self {
        self.family(family);
        let register = self.load_address(Address::Destination, family, REG32_00);
        self.load_port(register).lookup(set, false, None)
    }

    /// Protocol and destination port are in `set`.
    pub fn destination_port_in(&mut self, family: Family, set: &str) -> &mut Self {
        self.family(family);
        self.load_port(REG32_00).lookup(set, false, None)
    }

    /// Source address, destination address, protocol and port are in `set`.
    pub fn conversation_in(&mut self, family: Family, set: &str) -> &mut Self {
        self.family(family);
        let register = self.load_address(Address::Source, family, REG32_00);
        let register = self.load_address(Address::Destination, family, register);
        self.load_port(register).lookup(set, false, None)
    }

    /// The connection is in that state.
    pub fn connection(&mut self, state: CtState) -> &mut Self {
        let (key, bits) = match state {
            CtState::EstablishedOrRelated => (0, 2 | 4),
            CtState::DestinationTranslated => (2, 0x20u32),
        };
        self.expression("ct", |a| {
            a.be32(1, REG_1).be32(2, key);
        });
        self.mask(&bits.to_ne_bytes()).compare(CMP_NEQ, &[0; 4])
    }

    /// Translates the destination by a map from protocol and port to address and port. With `by_address` the
    /// packet's destination address is the first part of the key. A packet that is not in the map goes on to the
    /// next rule.
    pub fn translate_destination(&mut self, family: Family, map: &str, by_address: bool) -> &mut Self {
        const DNAT: u32 = 1;
        self.family(family);
        let register = if by_address { self.load_address(Address::Destination, family, REG32_00) } else { REG32_00 };
        self.load_port(register).lookup(map, false, Some(REG_1));
        self.expression("nat", |a| {
            a.be32(1, DNAT).be32(2, family.number().into()).be32(3, REG32_00).be32(5, REG32_00 + family.size() / 4);
        })
    }

    /// Loads an address into `register` and those behind it; gives the next.
    fn load_address(&mut self, which: Address, family: Family, register: u32) -> u32 {
        self.payload(NETWORK, which.offset(family), family.size(), register);
        register + family.size() / 4
    }

    /// Loads protocol and destination port into two registers.
    fn load_port(&mut self, register: u32) -> &mut Self {
        self.meta(META_L4PROTO, register).payload(TRANSPORT, DESTINATION_PORT, 2, register + 1)
    }

    /// Counts packets and bytes; rules of the `iptables` command all do.
    pub fn counter(&mut self) -> &mut Self {
        self.expression("counter", |a| {
            a.be64(1, 0).be64(2, 0);
        })
    }

    /// Translates the source to the address of the interface it goes out by.
    pub fn masquerade(&mut self) -> &mut Self {
        self.expression("masq", |_| ())
    }

    /// Ends the rule.
    pub fn verdict(&mut self, verdict: Verdict<'_>) -> &mut Self {
        let (code, chain) = match verdict {
            Verdict::Drop => (0, None),
            Verdict::Accept => (1, None),
            Verdict::Jump(chain) => (NFT_JUMP, Some(chain)),
        };
        self.expression("immediate", |a| {
            a.be32(1, VERDICT_REGISTER).nest(2, |a| {
                a.nest(NFTA_DATA_VERDICT, |a| {
                    a.be32(1, code as u32);
                    if let Some(chain) = chain {
                        a.text(2, chain);
                    }
                });
            });
        })
    }

    fn meta(&mut self, key: u32, register: u32) -> &mut Self {
        self.expression("meta", |a| {
            a.be32(1, register).be32(2, key);
        })
    }

    /// Loads bytes of the packet.
    fn payload(&mut self, base: u32, offset: u32, len: u32, register: u32) -> &mut Self {
        self.expression("payload", |a| {
            a.be32(1, register).be32(2, base).be32(3, offset).be32(4, len);
        })
    }

    /// Keeps only the bits of `mask` in the first register.
    fn mask(&mut self, mask: &[u8]) -> &mut Self {
        self.expression("bitwise", |a| {
            a.be32(1, REG_1).be32(2, REG_1).be32(3, mask.len() as u32);
            a.nest(4, |a| {
                a.bytes(NFTA_DATA_VALUE, mask);
            });
            a.nest(5, |a| {
                a.bytes(NFTA_DATA_VALUE, &vec![0; mask.len()]);
            });
        })
    }

    fn compare(&mut self, operator: u32, value: &[u8]) -> &mut Self {
        self.expression("cmp", |a| {
            a.be32(1, REG_1).be32(2, operator).nest(3, |a| {
                a.bytes(NFTA_DATA_VALUE, value);
            });
        })
    }

    /// Looks the first registers up in a set; the value goes to `into`.
    fn lookup(&mut self, set: &str, inverted: bool, into: Option<u32>) -> &mut Self {
        const NFTA_LOOKUP_FLAGS: u16 = 5;
        const INVERTED: u32 = 1;
        self.expression("lookup", |a| {
            a.text(1, set).be32(2, REG_1);
            if let Some(register) = into {
                a.be32(3, register);
            }
            if inverted {
                a.be32(NFTA_LOOKUP_FLAGS, INVERTED);
            }
        })
    }

    fn expression(&mut self, name: &str, fill: impl FnOnce(&mut Attrs<'_>)) -> &mut Self {
        self.attrs.nest(NFTA_LIST_ELEM, |a| {
            a.text(1, name).nest(2, fill);
        });
        self
    }
}
