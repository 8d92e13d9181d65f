//! Hardware addresses.

use gantry_model::Id;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An Ethernet address, written as `02:42:ac:11:00:02`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MacAddr([u8; 6]);

/// The text is no Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid MAC address")]
pub struct ParseMacError;

impl MacAddr {
    /// An address from its bytes.
    pub const fn new(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// Any address: locally administered, and in a form that no IP address gives.
    pub fn random() -> Self {
        let mut bytes = [0; 6];
        bytes.copy_from_slice(&Id::random().as_bytes()[..6]);
        bytes[0] = bytes[0] & 0xf0 | 0x0a;
        Self(bytes)
    }

    /// The locally administered address that Docker derives from an IPv4 address. Because it follows from the
    /// address, neighbours' caches stay right when an address goes from one container to the next.
    pub const fn from_ipv4(ip: Ipv4Addr) -> Self {
        let [a, b, c, d] = ip.octets();
        Self([0x02, 0x42, a, b, c, d])
    }

    /// The same of an IPv6 address: its last bytes, in a form that no IPv4 address gives.
    pub const fn from_ipv6(ip: Ipv6Addr) -> Self {
        let [.., a, b, c, d] = ip.octets();
        Self([0x06, 0x42, a, b, c, d])
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02x}", if i == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl FromStr for MacAddr {
    type Err = ParseMacError;

    /// Reads six pairs of hexadecimal digits between colons or between hyphens, as Go's `net.ParseMAC` does.
    fn from_str(text: &str) -> Result<Self, ParseMacError> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut bytes = [0u8; 6];
        let mut pairs = text.split(separator);
        for byte in &mut bytes {
            let pair = pairs.next().ok_or(ParseMacError)?;
            if pair.len() != 2 || !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(ParseMacError);
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| ParseMacError)?;
        }
        if pairs.next().is_some() { Err(ParseMacError) } else { Ok(Self(bytes)) }
    }
}

gantry_model::serde_as_text!(MacAddr);

#[cfg(test)]
mod tests {
    use super::MacAddr;
    use std::net::Ipv4Addr;

    #[test]
    fn derived_as_docker_does() {
        assert_eq!(MacAddr::from_ipv4(Ipv4Addr::new(172, 17, 0, 2)).to_string(), "02:42:ac:11:00:02");
    }

    #[test]
    fn text_forms() {
        let mac = MacAddr::new([2, 0x42, 0xac, 0x11, 0, 2]);
        assert_eq!("02:42:AC:11:00:02".parse(), Ok(mac));
        assert_eq!("02-42-ac-11-00-02".parse(), Ok(mac));
        for bad in
            ["", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "0242ac110002", "+2:42:ac:11:00:02", "02:42-ac:11:00:02"]
        {
            assert!(bad.parse::<MacAddr>().is_err(), "{bad}");
        }
    }
}
