//! Where subnets come from that nobody asked for by name.

use crate::net::{to_bits, width};
use crate::{AddressPool, Error, Net, Result};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Docker's pools, in Docker's order.
const DEFAULT_POOLS: [([u8; 4], u8, u8); 7] = [
    ([172, 17, 0, 0], 16, 16),
    ([172, 18, 0, 0], 16, 16),
    ([172, 19, 0, 0], 16, 16),
    ([172, 20, 0, 0], 14, 16),
    ([172, 24, 0, 0], 14, 16),
    ([172, 28, 0, 0], 14, 16),
    ([192, 168, 0, 0], 16, 20),
];

/// Refuses pools that cannot be cut into subnets with room for a gateway and a container.
pub(crate) fn check(pools: &[AddressPool]) -> Result<()> {
    for AddressPool { base, size } in pools {
        if base.prefix_len() > *size || *size + 2 > width(base.first()) || base.prefix_len() == 0 {
            return Err(Error::Config(format!("invalid default address pool: base {base}, size {size}")));
        }
    }
    Ok(())
}

/// The first subnet of the family's pools that overlaps none in `used`. Without a pool of the family it is one of
/// Docker's, or for IPv6 one of the host's own unique local addresses (RFC 4193), which `seed` decides.
pub(crate) fn choose(pools: &[AddressPool], ipv4: bool, seed: &[u8], used: &[Net]) -> Result<Net> {
    let mut pools: Vec<_> = pools.iter().copied().filter(|p| p.base.is_ipv4() == ipv4).collect();
    if pools.is_empty() && ipv4 {
        pools.extend(
            DEFAULT_POOLS.map(|(base, len, size)| AddressPool { base: Net::of(Ipv4Addr::from(base), len), size }),
        );
    } else if pools.is_empty() {
        pools.push(AddressPool { base: unique_local(seed), size: 64 });
    }
    pools.into_iter().find_map(|pool| first_free(pool, used)).ok_or(Error::PoolsExhausted { ipv4 })
}

/// The pool's first subnet that overlaps none in `used`. What is used is jumped over as a whole: a pool may
/// be cut into more subnets than could be tried one by one.
fn first_free(AddressPool { base, size }: AddressPool, used: &[Net]) -> Option<Net> {
    let count = 1u128.checked_shl((size - base.prefix_len()).into()).unwrap_or(u128::MAX);
    let mut n = 0;
    while n < count {
        let candidate = base.part(n, size);
        let Some(taken) = used.iter().find(|u| u.overlaps(candidate)) else { return Some(candidate) };
        let end = to_bits(taken.last()).max(to_bits(candidate.last()));
        let shift = u32::from(width(base.first()) - size);
        n = (end - to_bits(base.first())).checked_shr(shift).unwrap_or(0) + 1;
    }
    None
}

/// The /48 of a host: fd and 40 bits out of two rounds of FNV-1a over the seed.
fn unique_local(seed: &[u8]) -> Net {
    let round = |start: u64| seed.iter().fold(start, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    let hash = (round(0xcbf2_9ce4_8422_2325) ^ round(0x9e37_79b9_7f4a_7c15).rotate_left(32)).to_be_bytes();
    let mut address = [0; 16];
    address[0] = 0xfd;
    address[1..6].copy_from_slice(&hash[..5]);
    Net::of(Ipv6Addr::from(address), 48)
}

#[cfg(test)]
mod tests {
    use super::{check, choose};
    use crate::{AddressPool, Net};

    fn net(text: &str) -> Net {
        text.parse().unwrap()
    }

    fn pool(base: &str, size: u8) -> AddressPool {
        AddressPool { base: net(base), size }
    }

    fn four(pools: &[AddressPool], used: &[Net]) -> crate::Result<String> {
        choose(pools, true, b"", used).map(|net| net.to_string())
    }

    #[test]
    fn the_first_free_subnet_in_dockers_order() {
        let mut used = Vec::new();
        for expected in ["172.17.0.0/16", "172.18.0.0/16", "172.19.0.0/16", "172.20.0.0/16", "172.21.0.0/16"] {
            assert_eq!(four(&[], &used).unwrap(), expected);
            used.push(net(expected));
        }
        used.push(net("172.16.0.0/12"));
        assert_eq!(four(&[], &used).unwrap(), "192.168.0.0/20");
        used.push(net("192.168.0.0/16"));
        assert!(four(&[], &used).is_err());
    }

    #[test]
    fn own_pools() {
        let pools = [pool("10.1.0.0/30", 30), pool("10.2.0.0/23", 24), pool("fd00::/16", 64)];
        assert_eq!(four(&pools, &[net("10.1.0.0/24")]).unwrap(), "10.2.0.0/24");
        assert_eq!(four(&pools, &[net("10.1.0.0/24"), net("10.2.0.0/24")]).unwrap(), "10.2.1.0/24");
        assert_eq!(four(&pools, &[net("10.1.0.0/24"), net("10.2.0.77/32")]).unwrap(), "10.2.1.0/24");
        assert!(check(&pools).is_ok());
        assert!(check(&[pool("10.0.0.0/16", 8)]).is_err());
        assert!(check(&[pool("10.0.0.0/16", 31)]).is_err());
        assert!(check(&[pool("0.0.0.0/0", 16)]).is_err());
        let used = [net("fd00::/20"), net("fd00:1000::/64")];
        assert_eq!(choose(&pools, false, b"", &used).unwrap(), net("fd00:1000:0:1::/64"));
    }

    #[test]
    fn unique_local_addresses_of_a_host() {
        let six = |seed: &[u8], used: &[Net]| choose(&[], false, seed, used).unwrap();
        let first = six(b"a", &[]);
        assert!(net("fd00::/8").contains_net(first) && first.prefix_len() == 64, "{first}");
        assert_eq!(first, six(b"a", &[]));
        assert_ne!(first, six(b"b", &[]));
        let second = six(b"a", &[first]);
        assert!(Net::of(first.first(), 48).contains_net(second) && second != first);
    }
}
