//! Subnets of both families.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A subnet, written `10.0.0.0/24` or `fd00::/64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Net {
    first: IpAddr,
    prefix_len: u8,
}

/// The text is no subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid CIDR address")]
pub struct ParseNetError;

impl Net {
    /// The subnet that `address` is in. A prefix that is longer than the address counts as the address' whole length.
    pub fn of(address: impl Into<IpAddr>, prefix_len: u8) -> Self {
        let address = address.into();
        let prefix_len = prefix_len.min(width(address));
        let host_bits = width(address) - prefix_len;
        Self { first: from_bits(to_bits(address) & !ones(host_bits), address.is_ipv4()), prefix_len }
    }

    /// The first address, which names the subnet.
    pub const fn first(self) -> IpAddr {
        self.first
    }

    /// How many bits of an address name the subnet.
    pub const fn prefix_len(self) -> u8 {
        self.prefix_len
    }

    /// The last address; with IPv4 usually the broadcast address.
    pub fn last(self) -> IpAddr {
        from_bits(to_bits(self.first) | ones(self.host_bits()), self.is_ipv4())
    }

    /// Whether it is one of IPv4's.
    pub const fn is_ipv4(self) -> bool {
        self.first.is_ipv4()
    }

    /// Whether the address is in it.
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_ipv4() && Self::of(address, self.prefix_len) == self
    }

    /// Whether all of the other is in it.
    pub fn contains_net(self, other: Self) -> bool {
        self.prefix_len <= other.prefix_len && self.contains(other.first)
    }

    /// Whether they have an address in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains_net(other) || other.contains_net(self)
    }

    /// Whether `address` may be a host's: neither the subnet's name (of IPv6, the routers' anycast address) nor the
    /// broadcast address. In a subnet of one or two addresses all are hosts'.
    pub fn is_host(self, address: IpAddr) -> bool {
        let reserved = self.host_bits() > 1 && (address == self.first || (self.is_ipv4() && address == self.last()));
        self.contains(address) && !reserved
    }

    /// The `n`th subnet of `prefix_len` bits in it.
    pub(crate) fn part(self, n: u128, prefix_len: u8) -> Self {
        let shift = width(self.first).saturating_sub(prefix_len);
        let offset = n.checked_shl(shift.into()).unwrap_or(0);
        Self::of(from_bits(to_bits(self.first) | offset, self.is_ipv4()), prefix_len)
    }

    const fn host_bits(self) -> u8 {
        width(self.first) - self.prefix_len
    }
}

/// The number of bits of an address.
pub(crate) const fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// An address as a number.
pub(crate) fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// A number as an address.
pub(crate) fn from_bits(bits: u128, ipv4: bool) -> IpAddr {
    if ipv4 { Ipv4Addr::from_bits(bits as u32).into() } else { Ipv6Addr::from_bits(bits).into() }
}

/// A number with that many ones at its end.
fn ones(count: u8) -> u128 {
    u128::MAX.checked_shr(128 - u32::from(count)).unwrap_or(0)
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix_len)
    }
}

impl FromStr for Net {
    type Err = ParseNetError;

    /// Takes any address of the subnet, as Go's `net.ParseCIDR` does; compare [`Net::first`] with what was meant.
    fn from_str(text: &str) -> Result<Self, ParseNetError> {
        let (address, len) = text.split_once('/').ok_or(ParseNetError)?;
        let address: IpAddr = address.parse().map_err(|_| ParseNetError)?;
        let digits = !len.is_empty() && len.bytes().all(|b| b.is_ascii_digit());
        let len = len.parse().ok().filter(|len| digits && *len <= width(address)).ok_or(ParseNetError)?;
        Ok(Self::of(address, len))
    }
}

impl Serialize for Net {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Net {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Net;
    use std::net::Ipv4Addr;

    fn net(text: &str) -> Net {
        text.parse().unwrap()
    }

    #[test]
    fn texts() {
        assert_eq!(net("10.1.2.3/16").to_string(), "10.1.0.0/16");
        assert_eq!(net("fd00:0::7/64").to_string(), "fd00::/64");
        assert_eq!(net("0.0.0.0/0").last().to_string(), "255.255.255.255");
        assert_eq!(net("::/0").last().to_string(), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        for bad in ["", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "10.0.0.0/+8", "10.0.0.0/-1"]
        {
            assert!(bad.parse::<Net>().is_err(), "{bad}");
        }
    }

    #[test]
    fn overlap() {
        assert!(net("172.16.0.0/12").overlaps(net("172.17.0.0/16")));
        assert!(net("172.17.5.0/24").overlaps(net("172.17.0.0/16")));
        assert!(!net("172.18.0.0/16").overlaps(net("172.17.0.0/16")));
        assert!(net("0.0.0.0/0").overlaps(net("10.0.0.0/8")));
        assert!(net("10.0.0.1/32").overlaps(net("10.0.0.1/32")));
        assert!(!net("::/0").overlaps(net("10.0.0.0/8")));
        assert!(net("fd00::/48").overlaps(net("fd00:0:0:5::/64")));
    }

    #[test]
    fn hosts() {
        let hosts = |text| {
            let subnet = net(text);
            (0..16).filter(|i| subnet.is_host(Ipv4Addr::new(10, 0, 0, *i).into())).collect::<Vec<_>>()
        };
        assert_eq!(hosts("10.0.0.8/29"), (9..15).collect::<Vec<_>>());
        assert_eq!(hosts("10.0.0.2/31"), [2, 3]);
        assert_eq!(hosts("10.0.0.2/32"), [2]);
        let six = net("fd00::/64");
        assert!(!six.is_host(six.first()) && six.is_host(six.last()) && six.is_host("fd00::1".parse().unwrap()));
    }

    #[test]
    fn parts() {
        assert_eq!(net("172.20.0.0/14").part(3, 16).to_string(), "172.23.0.0/16");
        assert_eq!(net("fd12:3456:789a::/48").part(0x1f, 64).to_string(), "fd12:3456:789a:1f::/64");
        assert_eq!(net("10.0.0.0/8").part(0, 8), net("10.0.0.0/8"));
    }
}
