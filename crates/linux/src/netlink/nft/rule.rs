//! Rules: chains of expressions, each of which goes on to the next only if it matches.

use super::super::Attrs;
use super::{NFTA_DATA_VALUE, NFTA_LIST_ELEM};
use std::net::Ipv4Addr;

/// The first 128-bit register. It overlays the first four 32-bit ones.
const REG_1: u32 = 1;
/// The first 32-bit register; the others follow.
const REG32_00: u32 = 8;

const CMP_EQ: u32 = 0;
const CMP_NEQ: u32 = 1;

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
    /// Where in the IPv4 header it is.
    const fn offset(self) -> u32 {
        match self {
            Self::Source => 12,
            Self::Destination => 16,
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

    /// The packet is IPv4. A table of family `inet` must ask before it looks at addresses.
    pub fn ipv4(&mut self) -> &mut Self {
        const NFPROTO: u32 = 15;
        const IPV4: u8 = 2;
        self.meta(NFPROTO, REG_1).compare(CMP_EQ, &[IPV4])
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

    /// The address is in the subnet, or is not.
    pub fn address_in(&mut self, which: Address, is: bool, subnet: Ipv4Addr, prefix_len: u8) -> &mut Self {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0);
        let network = u32::from(subnet) & mask;
        self.ipv4().payload(1, which.offset(), 4, REG_1).mask(mask.to_be_bytes());
        self.compare(if is { CMP_EQ } else { CMP_NEQ }, &network.to_be_bytes())
    }

    /// The destination is one of the host's own addresses.
    pub fn to_local_address(&mut self) -> &mut Self {
        const ADDRESS_TYPE: u32 = 3;
        const OF_DESTINATION: u32 = 2;
        const RTN_LOCAL: u32 = 2;
        self.expression("fib", |a| {
            a.be32(1, REG_1).be32(2, ADDRESS_TYPE).be32(3, OF_DESTINATION);
        });
        self.compare(CMP_EQ, &RTN_LOCAL.to_ne_bytes())
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
        self.mask(bits.to_ne_bytes()).compare(CMP_NEQ, &[0; 4])
    }

    /// Translates the destination by a map from protocol and port to address and port. With `by_address` the
    /// packet's destination address is the first part of the key. A packet that is not in the map goes on to the
    /// next rule.
    pub fn translate_destination(&mut self, map: &str, by_address: bool) -> &mut Self {
        const L4PROTO: u32 = 16;
        const DNAT: u32 = 1;
        const NFPROTO_IPV4: u32 = 2;
        let mut register = REG32_00;
        self.ipv4();
        if by_address {
            self.payload(1, Address::Destination.offset(), 4, register);
            register += 1;
        }
        // TCP, UDP and SCTP headers all have the destination port at offset 2.
        self.meta(L4PROTO, register).payload(2, 2, 2, register + 1).lookup(map, false, Some(REG_1));
        self.expression("nat", |a| {
            a.be32(1, DNAT).be32(2, NFPROTO_IPV4).be32(3, REG32_00).be32(5, REG32_00 + 1);
        })
    }

    /// Translates the source to the address of the interface it goes out by.
    pub fn masquerade(&mut self) -> &mut Self {
        self.expression("masq", |_| ())
    }

    /// Ends the rule.
    pub fn verdict(&mut self, verdict: Verdict<'_>) -> &mut Self {
        const VERDICT_REGISTER: u32 = 0;
        const NFTA_DATA_VERDICT: u16 = 2;
        const JUMP: i32 = -3;
        let (code, chain) = match verdict {
            Verdict::Drop => (0, None),
            Verdict::Accept => (1, None),
            Verdict::Jump(chain) => (JUMP, Some(chain)),
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

    /// Loads bytes of the packet; `base` 1 is the network header, 2 the transport header.
    fn payload(&mut self, base: u32, offset: u32, len: u32, register: u32) -> &mut Self {
        self.expression("payload", |a| {
            a.be32(1, register).be32(2, base).be32(3, offset).be32(4, len);
        })
    }

    /// Keeps only the bits of `mask` in the first register.
    fn mask(&mut self, mask: [u8; 4]) -> &mut Self {
        self.expression("bitwise", |a| {
            a.be32(1, REG_1).be32(2, REG_1).be32(3, 4);
            a.nest(4, |a| {
                a.bytes(NFTA_DATA_VALUE, &mask);
            });
            a.nest(5, |a| {
                a.bytes(NFTA_DATA_VALUE, &[0; 4]);
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
