//! IPv4 subnets, and the choice of one that the host does not use yet.

use crate::{AddressPool, Error, Result};
use std::fmt;
use std::net::Ipv4Addr;

/// A subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subnet {
    network: u32,
    prefix_len: u8,
}

impl Subnet {
    /// The subnet that `address` is in.
    pub(crate) fn of(address: Ipv4Addr, prefix_len: u8) -> Self {
        Self { network: u32::from(address) & mask(prefix_len), prefix_len }
    }

    /// The first address, which names the subnet.
    pub(crate) fn network(self) -> Ipv4Addr {
        self.network.into()
    }

    pub(crate) fn prefix_len(self) -> u8 {
        self.prefix_len
    }

    /// The last address, the broadcast address.
    pub(crate) fn last(self) -> Ipv4Addr {
        (self.network | !mask(self.prefix_len)).into()
    }

    pub(crate) fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask(self.prefix_len) == self.network
    }

    /// Whether `address` may be a host's: neither the subnet's name nor its broadcast address.
    pub(crate) fn is_host(self, address: Ipv4Addr) -> bool {
        self.contains(address) && address != self.network() && address != self.last()
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        let (wide, narrow) = if self.prefix_len <= other.prefix_len { (self, other) } else { (other, self) };
        wide.contains(narrow.network())
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network(), self.prefix_len)
    }
}

fn mask(prefix_len: u8) -> u32 {
    u32::MAX.checked_shl(32u32.saturating_sub(prefix_len.into())).unwrap_or(0)
}

/// Docker's pools, in Docker's order.
const DEFAULT_POOLS: [AddressPool; 7] = [
    pool([172, 17, 0, 0], 16, 16),
    pool([172, 18, 0, 0], 16, 16),
    pool([172, 19, 0, 0], 16, 16),
    pool([172, 20, 0, 0], 14, 16),
    pool([172, 24, 0, 0], 14, 16),
    pool([172, 28, 0, 0], 14, 16),
    pool([192, 168, 0, 0], 16, 20),
];

const fn pool([a, b, c, d]: [u8; 4], len: u8, size: u8) -> AddressPool {
    AddressPool { base: (Ipv4Addr::new(a, b, c, d), len), size }
}

/// Refuses pools that cannot be cut into subnets with room for a gateway and a container.
pub(crate) fn check_pools(pools: &[AddressPool]) -> Result<()> {
    for AddressPool { base: (address, len), size } in pools {
        if *len > *size || *size > 30 || *len == 0 {
            return Err(Error::Config(format!("invalid default address pool: base {address}/{len}, size {size}")));
        }
    }
    Ok(())
}

/// The first subnet of the pools that overlaps none in `used`.
pub(crate) fn choose(pools: &[AddressPool], used: &[Subnet]) -> Result<Subnet> {
    let pools = if pools.is_empty() { &DEFAULT_POOLS } else { pools };
    pools
        .iter()
        .flat_map(|pool| subnets(*pool))
        .find(|candidate| !used.iter().any(|u| u.overlaps(*candidate)))
        .ok_or(Error::PoolsExhausted)
}

fn subnets(pool: AddressPool) -> impl Iterator<Item = Subnet> {
    let base = Subnet::of(pool.base.0, pool.base.1);
    let count = 1u64 << (pool.size - pool.base.1);
    let step = 32 - u32::from(pool.size);
    (0..count).map(move |i| Subnet { network: base.network + ((i as u32) << step), prefix_len: pool.size })
}

#[cfg(test)]
mod tests {
    use super::{Subnet, check_pools, choose, pool};

    fn net(text: &str) -> Subnet {
        let (address, len) = text.split_once('/').unwrap();
        Subnet::of(address.parse().unwrap(), len.parse().unwrap())
    }

    #[test]
    fn overlap() {
        assert!(net("172.16.0.0/12").overlaps(net("172.17.0.0/16")));
        assert!(net("172.17.5.0/24").overlaps(net("172.17.0.0/16")));
        assert!(!net("172.18.0.0/16").overlaps(net("172.17.0.0/16")));
        assert!(net("0.0.0.0/0").overlaps(net("10.0.0.0/8")));
        assert!(net("10.0.0.1/32").overlaps(net("10.0.0.1/32")));
    }

    #[test]
    fn hosts() {
        let subnet = net("10.0.0.8/29");
        assert_eq!(subnet.to_string(), "10.0.0.8/29");
        let hosts: Vec<_> = (0..16).filter(|i| subnet.is_host([10, 0, 0, *i].into())).collect();
        assert_eq!(hosts, (9..15).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_free_subnet_in_dockers_order() {
        let mut used = Vec::new();
        for expected in ["172.17.0.0/16", "172.18.0.0/16", "172.19.0.0/16", "172.20.0.0/16", "172.21.0.0/16"] {
            let subnet = choose(&[], &used).unwrap();
            assert_eq!(subnet.to_string(), expected);
            used.push(subnet);
        }
        used.push(net("172.16.0.0/12"));
        assert_eq!(choose(&[], &used).unwrap().to_string(), "192.168.0.0/20");
        used.push(net("192.168.0.0/16"));
        assert!(choose(&[], &used).is_err());
    }

    #[test]
    fn own_pools() {
        let pools = [pool([10, 1, 0, 0], 30, 30), pool([10, 2, 0, 0], 23, 24)];
        assert_eq!(choose(&pools, &[net("10.1.0.0/24")]).unwrap().to_string(), "10.2.0.0/24");
        assert_eq!(choose(&pools, &[net("10.1.0.0/24"), net("10.2.0.0/24")]).unwrap().to_string(), "10.2.1.0/24");
        assert!(check_pools(&pools).is_ok());
        assert!(check_pools(&[pool([10, 0, 0, 0], 16, 8)]).is_err());
        assert!(check_pools(&[pool([10, 0, 0, 0], 16, 31)]).is_err());
    }
}
