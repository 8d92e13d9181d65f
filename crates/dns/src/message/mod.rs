//! DNS messages, as far as they have to be understood: RFC 1035, and RFC 6891 for the sizes.

mod answer;
mod name;
mod query;
mod reply;
mod reverse;

pub(crate) use answer::{Answer, Record, refusal, refuse, truncate};
pub(crate) use query::{Query, Unfit};
pub(crate) use reply::{Judgement, judge};
pub(crate) use reverse::address_of;

/// The size of a header.
pub(crate) const HEADER: usize = 12;
/// The largest message that UDP carries unless the client says otherwise.
pub(crate) const SMALL: usize = 512;

/// Types of records.
pub(crate) mod rtype {
    pub(crate) const A: u16 = 1;
    pub(crate) const PTR: u16 = 12;
    pub(crate) const MX: u16 = 15;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const OPT: u16 = 41;
}

/// The class of everything on the internet.
pub(crate) const CLASS_IN: u16 = 1;

/// Outcomes, as the header carries them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rcode {
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NameError = 3,
    NotImplemented = 4,
    Refused = 5,
}

/// Bits of a header's third and fourth byte.
pub(crate) mod flag {
    /// Third: a response.
    pub(crate) const RESPONSE: u8 = 0x80;
    /// Third: what the message is for.
    pub(crate) const OPCODE: u8 = 0x78;
    /// Third: there is more than fitted.
    pub(crate) const TRUNCATED: u8 = 0x02;
    /// Third: the client wants the server to ask others.
    pub(crate) const RECURSION_DESIRED: u8 = 0x01;
    /// Fourth: the server does ask others.
    pub(crate) const RECURSION_AVAILABLE: u8 = 0x80;
    /// Fourth: the client does not want signatures checked.
    pub(crate) const CHECKING_DISABLED: u8 = 0x10;
    /// Fourth: the outcome.
    pub(crate) const RCODE: u8 = 0x0f;
}

/// Two bytes as a number.
fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]))
}
