//! Reproducible hostile bytes for the tests of everything that reads messages.

use super::{Attributes, Message, Messages};

/// Calls `read` with datagrams of noise. Half of them begin like one message of type `kind` with a fixed part of
/// `header` bytes and an attribute after it, so that what reads messages gets beyond the first length check.
pub(super) fn datagrams(kind: u16, header: usize, mut read: impl FnMut(&[u8])) {
    let mut seed = 0x9e37_79b9_7f4a_7c15u64 ^ u64::from(kind);
    let mut noise = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 32) as u8
    };
    for round in 0..20_000 {
        let len = usize::from(noise()) * 2;
        let mut bytes: Vec<u8> = (0..len).map(|_| noise()).collect();
        if round % 2 == 0 && len >= header + 24 {
            bytes[..4].copy_from_slice(&(len as u32).to_ne_bytes());
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            // A plausible length and a low type, for this attribute and for those nested in it.
            for at in (16 + header..len - 4).step_by(4).take(4) {
                bytes[at..at + 2].copy_from_slice(&(4 + u16::from(noise() % 64)).to_ne_bytes());
                bytes[at + 2..at + 4].copy_from_slice(&u16::from(noise() % 20).to_ne_bytes());
            }
        }
        read(&bytes);
    }
}

/// The same, message by message.
pub(super) fn messages(kind: u16, header: usize, mut read: impl FnMut(&Message<'_>)) {
    datagrams(kind, header, |bytes| Messages::new(bytes).for_each(|m| read(&m)));
}

/// Reads every attribute in every way, as deep as `depth`; gives their number.
pub(super) fn walk(attributes: Attributes<'_>, depth: usize) -> usize {
    attributes
        .map(|a| {
            let _ = (a.u8(), a.be16(), a.u32(), a.ipv4(), a.ip(), a.text());
            1 + if depth > 0 { walk(a.nested(), depth - 1) } else { 0 }
        })
        .sum()
}
