//! Names of addresses: `4.3.2.1.in-addr.arpa` and its long cousin.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address that a name of the reverse tree stands for. The name is in lower case.
pub(crate) fn address_of(name: &str) -> Option<IpAddr> {
    if let Some(octets) = name.strip_suffix(".in-addr.arpa") {
        return v4(octets).map(IpAddr::V4);
    }
    v6(name.strip_suffix(".ip6.arpa")?).map(IpAddr::V6)
}

fn v4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0u8; 4];
    let mut parts = text.split('.');
    for octet in octets.iter_mut().rev() {
        let part = parts.next()?;
        // `parse` takes a plus sign.
        *octet = part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok()).flatten()?;
    }
    parts.next().is_none().then(|| octets.into())
}

fn v6(text: &str) -> Option<Ipv6Addr> {
    let mut address = 0u128;
    let mut nibbles = text.split('.').rev();
    for _ in 0..32 {
        let part = nibbles.next().filter(|part| part.len() == 1)?;
        address = address << 4 | u128::from(char::from(part.as_bytes()[0]).to_digit(16)?);
    }
    nibbles.next().is_none().then(|| address.into())
}

#[cfg(test)]
mod tests {
    use super::address_of;

    #[test]
    fn addresses() {
        assert_eq!(address_of("2.1.168.192.in-addr.arpa"), Some([192, 168, 1, 2].into()));
        let long = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        assert_eq!(address_of(long), Some("2001:db8::2".parse().unwrap()));
        let short = long.strip_prefix("2.").unwrap();
        for bad in [
            "",
            "in-addr.arpa",
            "1.in-addr.arpa",
            "1.2.3.4.5.in-addr.arpa",
            "1.2.3.256.in-addr.arpa",
            "+1.2.3.4.in-addr.arpa",
            "1.2.3..in-addr.arpa",
            "x.in-addr.arpa.net",
            "ip6.arpa",
            short,
            "web",
        ] {
            assert_eq!(address_of(bad), None, "{bad}");
        }
    }
}
