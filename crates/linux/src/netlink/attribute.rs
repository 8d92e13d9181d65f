//! Reading attributes. Lengths are checked against the bytes that are there: what is malformed ends the list.

use super::align;

/// One attribute.
#[derive(Debug, Clone, Copy)]
pub struct Attribute<'a> {
    /// Its type without the flag bits.
    pub kind: u16,
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The value as a byte.
    pub fn u8(&self) -> Option<u8> {
        self.value.first().copied()
    }

    /// The value as a 16-bit number in network byte order.
    pub fn be16(&self) -> Option<u16> {
        self.value.first_chunk().map(|b| u16::from_be_bytes(*b))
    }

    /// The value as a 32-bit number in the machine's byte order.
    pub fn u32(&self) -> Option<u32> {
        self.value.first_chunk().map(|b| u32::from_ne_bytes(*b))
    }

    /// The value as an IPv4 address.
    pub fn ipv4(&self) -> Option<std::net::Ipv4Addr> {
        self.value.first_chunk::<4>().map(|b| (*b).into())
    }

    /// The value as an IPv6 address.
    pub fn ipv6(&self) -> Option<std::net::Ipv6Addr> {
        self.value.first_chunk::<16>().map(|b| (*b).into())
    }

    /// The value as an address, whose family its length tells.
    pub fn ip(&self) -> Option<std::net::IpAddr> {
        match self.value.len() {
            4 => self.ipv4().map(Into::into),
            16 => self.ipv6().map(Into::into),
            _ => None,
        }
    }

    /// The value as text, up to its terminating zero.
    pub fn text(&self) -> Option<&'a str> {
        let text = self.value.split(|b| *b == 0).next()?;
        std::str::from_utf8(text).ok()
    }

    /// The attributes that the value consists of.
    pub fn nested(&self) -> Attributes<'a> {
        Attributes { bytes: self.value }
    }
}

/// A list of attributes.
#[derive(Debug, Clone, Default)]
pub struct Attributes<'a> {
    bytes: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// The attributes in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The first attribute of type `kind`.
    pub fn get(&self, kind: u16) -> Option<Attribute<'a>> {
        self.clone().find(|a| a.kind == kind)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        /// The low bits of the type; above them are `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
        const TYPE_MASK: u16 = 0x3fff;
        let &[l0, l1, k0, k1] = self.bytes.first_chunk::<4>()?;
        let len = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = self.bytes.get(4..len)?;
        self.bytes = self.bytes.get(align(len)..).unwrap_or_default();
        Some(Attribute { kind: u16::from_ne_bytes([k0, k1]) & TYPE_MASK, value })
    }
}
