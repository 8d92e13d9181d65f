//! What clients send.

use super::name::{self, Name};
use super::{HEADER, SMALL, flag, rtype, u16_at};

/// A question that was understood. The bytes it came in are kept beside it.
pub(crate) struct Query {
    /// What it asks about.
    pub(crate) name: Name,
    /// The type of record.
    pub(crate) rtype: u16,
    /// The class.
    pub(crate) class: u16,
    /// Where the question ends in the message; it begins after the header.
    pub(crate) question_end: usize,
    /// The largest answer that the client takes by UDP, if it has said so (EDNS).
    pub(crate) udp_size: Option<u16>,
}

/// Why a message is not answered as it would like to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Too short to have a header, or itself an answer: whoever answers that can be sent round in circles.
    Ignored,
    /// Not well-formed, or with another number of questions than one.
    Malformed,
    /// For something else than asking.
    NotAQuestion,
}

impl Query {
    /// Understands a message.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Unfit> {
        /// Records that a query may have beside its question, by section: none in the first two but what some
        /// clients put there, and EDNS and a signature in the third.
        const MOST: [u16; 3] = [1, 1, 2];
        let header = bytes.get(..HEADER).ok_or(Unfit::Ignored)?;
        if header[2] & flag::RESPONSE != 0 {
            return Err(Unfit::Ignored);
        }
        if header[2] & flag::OPCODE != 0 {
            return Err(Unfit::NotAQuestion);
        }
        let count = |section: usize| u16::from_be_bytes([header[4 + 2 * section], header[5 + 2 * section]]);
        let records = [count(1), count(2), count(3)];
        if count(0) != 1 || records.iter().zip(MOST).any(|(have, most)| *have > most) {
            return Err(Unfit::Malformed);
        }
        Self::read_question(bytes).and_then(|query| query.with_options(bytes, records)).ok_or(Unfit::Malformed)
    }

    fn read_question(bytes: &[u8]) -> Option<Self> {
        let (name, at) = Name::read(bytes, HEADER)?;
        let (rtype, class) = (u16_at(bytes, at)?, u16_at(bytes, at + 2)?);
        Some(Self { name, rtype, class, question_end: at + 4, udp_size: None })
    }

    /// Goes through the records for the one that says which sizes the client takes.
    fn with_options(mut self, bytes: &[u8], records: [u16; 3]) -> Option<Self> {
        let mut at = self.question_end;
        for (section, count) in records.iter().enumerate() {
            for _ in 0..*count {
                at = name::skip(bytes, at)?;
                let (rtype, class) = (u16_at(bytes, at)?, u16_at(bytes, at + 2)?);
                let len = usize::from(u16_at(bytes, at + 8)?);
                if section == 2 && rtype == rtype::OPT {
                    self.udp_size = Some(class);
                }
                at += 10 + len;
                if at > bytes.len() {
                    return None;
                }
            }
        }
        // What is cut off or has something behind it is not what it says it is.
        (at == bytes.len()).then_some(self)
    }

    /// The largest answer that fits into a datagram for this client.
    pub(crate) fn largest_datagram(&self) -> usize {
        self.udp_size.map_or(SMALL, |size| usize::from(size).max(SMALL))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A query as `dig` would send it.
    pub(crate) fn query(name: &str, rtype: u16, udp_size: Option<u16>) -> Vec<u8> {
        let mut bytes = vec![0xab, 0xcd, flag::RECURSION_DESIRED, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(udp_size.is_some())];
        if name.is_empty() {
            bytes.push(0);
        } else {
            name::write(name, &mut bytes).unwrap();
        }
        bytes.extend_from_slice(&rtype.to_be_bytes());
        bytes.extend_from_slice(&[0, 1]);
        if let Some(size) = udp_size {
            let [high, low] = size.to_be_bytes();
            bytes.extend_from_slice(&[0, 0, 41, high, low, 0, 0, 0, 0, 0, 0]);
        }
        bytes
    }

    #[test]
    fn questions() {
        let bytes = query("Web.Net", rtype::A, None);
        let read = Query::read(&bytes).ok().unwrap();
        assert_eq!((read.name.text(), read.rtype, read.class), (Some("web.net"), 1, 1));
        assert_eq!((read.question_end, read.largest_datagram()), (bytes.len(), 512));
        let read = Query::read(&query("", rtype::A, Some(1232))).ok().unwrap();
        assert_eq!((read.name.text(), read.largest_datagram()), (Some(""), 1232));
        assert_eq!(Query::read(&query("a", rtype::A, Some(100))).ok().unwrap().largest_datagram(), 512);
    }

    #[test]
    fn what_is_no_question() {
        let unfit = |bytes: &[u8]| Query::read(bytes).err();
        let good = query("web", rtype::A, Some(1232));
        assert_eq!(unfit(&[]), Some(Unfit::Ignored));
        assert_eq!(unfit(&good[..11]), Some(Unfit::Ignored));
        for cut in 12..good.len() {
            assert_eq!(unfit(&good[..cut]), Some(Unfit::Malformed), "{cut} bytes");
        }
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            unfit(&bytes)
        };
        assert_eq!(with(2, 0x81), Some(Unfit::Ignored), "an answer");
        assert_eq!(with(2, 0x29), Some(Unfit::NotAQuestion), "an update");
        assert_eq!(with(5, 0), Some(Unfit::Malformed), "no question");
        assert_eq!(with(5, 2), Some(Unfit::Malformed), "two questions");
        assert_eq!(with(4, 0xff), Some(Unfit::Malformed), "65281 questions");
        assert_eq!(with(11, 3), Some(Unfit::Malformed), "three additional records");
        assert_eq!(with(12, 0xc0), Some(Unfit::Malformed), "a pointer");
        assert_eq!(unfit(&[&good[..], &[0]].concat()), Some(Unfit::Malformed), "something behind it");
    }
}
