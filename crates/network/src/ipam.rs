//! Which address of a subnet is whose.

use crate::subnet::Subnet;
use crate::{Error, Result};
use std::collections::HashSet;
use std::net::Ipv4Addr;

/// The addresses of one subnet.
#[derive(Debug)]
pub(crate) struct Addresses {
    subnet: Subnet,
    /// The part that addresses are given out from when none is asked for.
    first: u32,
    last: u32,
    /// Where the search for the next one begins: behind the last one given out, so that an address rests for as
    /// long as possible before it is used again and nobody takes a new container for an old one.
    next: u32,
    taken: HashSet<Ipv4Addr>,
}

impl Addresses {
    /// Nothing is taken but `reserved` (the bridge and the gateway).
    pub(crate) fn new(subnet: Subnet, range: Subnet, reserved: &[Ipv4Addr]) -> Self {
        let (first, last) = (u32::from(range.network()), u32::from(range.last()));
        Self { subnet, first, last, next: first, taken: reserved.iter().copied().collect() }
    }

    /// Takes the next free address.
    pub(crate) fn take_next(&mut self) -> Result<Ipv4Addr> {
        let is_free = |n: &u32| self.subnet.is_host((*n).into()) && !self.taken.contains(&(*n).into());
        let found = (self.next..=self.last).chain(self.first..self.next).find(is_free).ok_or(Error::SubnetFull)?;
        self.next = if found == self.last { self.first } else { found + 1 };
        self.taken.insert(found.into());
        Ok(found.into())
    }

    /// Takes a certain address.
    pub(crate) fn take(&mut self, address: Ipv4Addr) -> Result<()> {
        if !self.subnet.is_host(address) {
            return Err(Error::AddressOutside(address));
        }
        if self.taken.insert(address) { Ok(()) } else { Err(Error::AddressInUse(address)) }
    }

    /// Takes an address back.
    pub(crate) fn free(&mut self, address: Ipv4Addr) {
        self.taken.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::Addresses;
    use crate::subnet::Subnet;
    use std::collections::HashSet;
    use std::net::Ipv4Addr;

    fn small() -> Addresses {
        let subnet = Subnet::of(Ipv4Addr::new(10, 0, 0, 0), 29);
        Addresses::new(subnet, subnet, &[Ipv4Addr::new(10, 0, 0, 1)])
    }

    #[test]
    fn never_twice_until_the_subnet_is_full() {
        let mut addresses = small();
        let given: HashSet<_> = (0..5).map(|_| addresses.take_next().unwrap()).collect();
        assert_eq!(given.len(), 5);
        assert!(given.iter().all(|a| (2..=6).contains(&a.octets()[3])));
        assert!(addresses.take_next().is_err());
    }

    #[test]
    fn a_freed_address_rests() {
        let mut addresses = small();
        let first = addresses.take_next().unwrap();
        assert_eq!(first, Ipv4Addr::new(10, 0, 0, 2));
        addresses.free(first);
        assert_eq!(addresses.take_next().unwrap(), Ipv4Addr::new(10, 0, 0, 3));
        for _ in 4..=6 {
            addresses.take_next().unwrap();
        }
        assert_eq!(addresses.take_next().unwrap(), first);
    }

    #[test]
    fn fixed_addresses() {
        let mut addresses = small();
        assert!(addresses.take(Ipv4Addr::new(10, 0, 0, 1)).is_err(), "the gateway's");
        assert!(addresses.take(Ipv4Addr::new(10, 0, 0, 7)).is_err(), "broadcast");
        assert!(addresses.take(Ipv4Addr::new(10, 0, 0, 9)).is_err(), "outside");
        addresses.take(Ipv4Addr::new(10, 0, 0, 2)).unwrap();
        assert!(addresses.take(Ipv4Addr::new(10, 0, 0, 2)).is_err(), "twice");
        assert_eq!(addresses.take_next().unwrap(), Ipv4Addr::new(10, 0, 0, 3));
    }

    #[test]
    fn a_range_within_the_subnet() {
        let subnet = Subnet::of(Ipv4Addr::new(10, 0, 0, 0), 16);
        let range = Subnet::of(Ipv4Addr::new(10, 0, 5, 0), 30);
        let mut addresses = Addresses::new(subnet, range, &[Ipv4Addr::new(10, 0, 0, 1)]);
        let given: Vec<_> = (0..4).map(|_| addresses.take_next().unwrap().octets()[3]).collect();
        assert_eq!(given, [0, 1, 2, 3], "the range's ends are ordinary addresses of the subnet");
        assert!(addresses.take_next().is_err());
        addresses.take(Ipv4Addr::new(10, 0, 9, 9)).unwrap();
    }

    #[test]
    fn the_whole_address_space_does_not_overflow() {
        let subnet = Subnet::of(Ipv4Addr::new(255, 255, 255, 252), 30);
        let mut addresses = Addresses::new(subnet, subnet, &[]);
        addresses.take_next().unwrap();
        addresses.take_next().unwrap();
        assert!(addresses.take_next().is_err());
    }
}
