//! Which address of a subnet is whose.

use crate::net::{from_bits, to_bits};
use crate::{Error, Net, Result, SubnetSpec};
use std::collections::HashSet;
use std::net::IpAddr;

/// The addresses of one subnet.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    subnet: Net,
    /// The part that addresses are given out from when none is asked for.
    first: u128,
    last: u128,
    /// Where the search for the next one begins: behind the last one given out, so that an address rests for as
    /// long as possible before it is used again and nobody takes a new container for an old one.
    next: u128,
    taken: HashSet<IpAddr>,
}

impl Addresses {
    /// Nothing is taken but the gateway and the auxiliary addresses.
    pub(crate) fn new(spec: &SubnetSpec) -> Self {
        let range = spec.range.unwrap_or(spec.subnet);
        let (first, last) = (to_bits(range.first()), to_bits(range.last()));
        let taken = spec.gateway.iter().chain(spec.aux.values()).copied().collect();
        Self { subnet: spec.subnet, first, last, next: first, taken }
    }

    /// The subnet.
    pub(crate) fn subnet(&self) -> Net {
        self.subnet
    }

    /// Takes the next free address; `None` when there is no more.
    pub(crate) fn take_next(&mut self) -> Option<IpAddr> {
        let ipv4 = self.subnet.is_ipv4();
        let free = |n: &u128| {
            let address = from_bits(*n, ipv4);
            self.subnet.is_host(address) && !self.taken.contains(&address)
        };
        let found = (self.next..=self.last).chain(self.first..self.next).find(free)?;
        self.next = if found == self.last { self.first } else { found + 1 };
        let address = from_bits(found, ipv4);
        self.taken.insert(address);
        Some(address)
    }

    /// Takes a certain address.
    pub(crate) fn take(&mut self, address: IpAddr) -> Result<()> {
        if !self.subnet.is_host(address) {
            return Err(Error::AddressOutside(address));
        }
        if self.taken.insert(address) { Ok(()) } else { Err(Error::AddressInUse(address)) }
    }

    /// Takes an address back.
    pub(crate) fn free(&mut self, address: IpAddr) {
        self.taken.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::Addresses;
    use crate::SubnetSpec;
    use std::collections::HashSet;
    use std::net::IpAddr;

    fn addresses(subnet: &str, range: Option<&str>, gateway: Option<&str>) -> Addresses {
        Addresses::new(&SubnetSpec {
            range: range.map(|r| r.parse().unwrap()),
            gateway: gateway.map(|g| g.parse().unwrap()),
            ..SubnetSpec::of(subnet.parse().unwrap())
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn every_address_once_and_the_last_freed_last() {
        let mut all = addresses("10.0.0.0/29", None, Some("10.0.0.1"));
        let given: Vec<_> = std::iter::from_fn(|| all.take_next()).collect();
        assert_eq!(given, ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"].map(ip));
        assert_eq!(given.iter().collect::<HashSet<_>>().len(), given.len());
        all.free(ip("10.0.0.5"));
        all.free(ip("10.0.0.3"));
        assert_eq!(all.take_next(), Some(ip("10.0.0.3")));
        all.free(ip("10.0.0.3"));
        assert_eq!(all.take_next(), Some(ip("10.0.0.5")), "not the one that was just freed");
    }

    #[test]
    fn certain_addresses() {
        let mut all = addresses("10.0.0.0/29", None, Some("10.0.0.1"));
        for bad in ["10.0.0.0", "10.0.0.1", "10.0.0.7", "10.0.0.9", "fd00::1"] {
            assert!(all.take(ip(bad)).is_err(), "{bad}");
        }
        all.take(ip("10.0.0.2")).unwrap();
        assert!(all.take(ip("10.0.0.2")).is_err(), "twice");
        assert_eq!(all.take_next(), Some(ip("10.0.0.3")));
    }

    #[test]
    fn a_range_within_the_subnet() {
        let mut all = addresses("10.0.0.0/16", Some("10.0.5.0/30"), Some("10.0.0.1"));
        let given: Vec<_> = std::iter::from_fn(|| all.take_next()).map(|a| a.to_string()).collect();
        assert_eq!(given, ["10.0.5.0", "10.0.5.1", "10.0.5.2", "10.0.5.3"], "its ends are ordinary addresses");
        all.take(ip("10.0.9.9")).unwrap();
    }

    #[test]
    fn the_ends_of_the_address_spaces() {
        let mut all = addresses("255.255.255.252/30", None, None);
        assert_eq!(std::iter::from_fn(|| all.take_next()).count(), 2);
        let mut six = addresses("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126", None, None);
        assert_eq!(std::iter::from_fn(|| six.take_next()).count(), 3);
        assert_eq!(addresses("fd00::/64", None, Some("fd00::1")).take_next(), Some(ip("fd00::2")));
        assert_eq!(addresses("::/0", None, None).take_next(), Some(ip("::1")));
    }
}
