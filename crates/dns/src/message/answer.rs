//! What clients get that was not asked of others.

use super::{CLASS_IN, HEADER, Query, Rcode, flag, name, rtype};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Seconds that an answer may be kept; Docker's number.
const TTL: u32 = 600;
/// A pointer to the question's name: in the beginning of a message, after the header.
const QUESTIONS_NAME: [u8; 2] = [0xc0, HEADER as u8];
/// The largest datagram this server takes, as EDNS has it said.
const OUR_UDP_SIZE: u16 = 1232;

/// A record of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    /// The name is text.
    Ptr(&'a str),
}

/// An answer under construction.
pub(crate) struct Answer<'o> {
    out: &'o mut Vec<u8>,
    /// What `out` must not outgrow.
    limit: usize,
    with_options: bool,
    count: u16,
}

impl<'o> Answer<'o> {
    /// An answer to `query`, which came as `bytes`, without records so far. What is in `out` goes.
    pub(crate) fn new(bytes: &[u8], query: &Query, rcode: Rcode, limit: usize, out: &'o mut Vec<u8>) -> Self {
        out.clear();
        header(bytes, rcode, out);
        out[5] = 1;
        out.extend_from_slice(&bytes[HEADER..query.question_end]);
        let with_options = query.udp_size.is_some();
        let reserved = if with_options { 11 } else { 0 };
        Self { out, limit: limit.saturating_sub(reserved), with_options, count: 0 }
    }

    /// Adds a record, unless the answer would become too large: then it says so, and `false` is returned.
    pub(crate) fn add(&mut self, record: Record<'_>) -> bool {
        let start = self.out.len();
        let complete = self.write(record).is_some();
        if !complete || self.out.len() > self.limit || self.count == u16::MAX {
            self.out.truncate(start);
            self.out[2] |= flag::TRUNCATED;
            return false;
        }
        self.count += 1;
        true
    }

    /// The answer is complete.
    pub(crate) fn finish(self) {
        self.out[6..8].copy_from_slice(&self.count.to_be_bytes());
        if self.with_options {
            self.out[11] = 1;
            let [high, low] = OUR_UDP_SIZE.to_be_bytes();
            self.out.extend_from_slice(&[0, 0, rtype::OPT as u8, high, low, 0, 0, 0, 0, 0, 0]);
        }
    }

    fn write(&mut self, record: Record<'_>) -> Option<()> {
        let rtype = match record {
            Record::A(_) => rtype::A,
            Record::Aaaa(_) => rtype::AAAA,
            Record::Ptr(_) => rtype::PTR,
        };
        self.out.extend_from_slice(&QUESTIONS_NAME);
        self.out.extend_from_slice(&rtype.to_be_bytes());
        self.out.extend_from_slice(&CLASS_IN.to_be_bytes());
        self.out.extend_from_slice(&TTL.to_be_bytes());
        let at = self.out.len();
        self.out.extend_from_slice(&[0; 2]);
        match record {
            Record::A(ip) => self.out.extend_from_slice(&ip.octets()),
            Record::Aaaa(ip) => self.out.extend_from_slice(&ip.octets()),
            Record::Ptr(text) => name::write(text, self.out)?,
        }
        let len = (self.out.len() - at - 2) as u16;
        self.out[at..at + 2].copy_from_slice(&len.to_be_bytes());
        Some(())
    }
}

/// A header that answers the message in `bytes`, which has one, and counts nothing.
fn header(bytes: &[u8], rcode: Rcode, out: &mut Vec<u8>) {
    let kept = bytes[2] & (flag::OPCODE | flag::RECURSION_DESIRED);
    out.extend_from_slice(&bytes[..2]);
    out.push(flag::RESPONSE | kept);
    out.push(flag::RECURSION_AVAILABLE | bytes[3] & flag::CHECKING_DISABLED | rcode as u8);
    out.extend_from_slice(&[0; 8]);
}

/// The answer to a message that was not understood: its header, and what is wrong.
pub(crate) fn refuse(bytes: &[u8], rcode: Rcode, out: &mut Vec<u8>) {
    out.clear();
    header(bytes, rcode, out);
}

/// What whoever asks too much is told.
pub(crate) fn refusal(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    refuse(bytes, Rcode::Refused, &mut out);
    out
}

/// Makes a server's answer small enough for the client: nothing is left but the question and the word that there is
/// more. The question ends where the client's did, for the two are the same.
pub(crate) fn truncate(reply: &mut Vec<u8>, question_end: usize) {
    reply.truncate(question_end);
    reply[2] |= flag::TRUNCATED;
    reply[6..HEADER].fill(0);
}

#[cfg(test)]
mod tests {
    use super::super::query::tests::query;
    use super::*;

    fn answer(bytes: &[u8], limit: usize, records: &[Record<'_>]) -> Vec<u8> {
        let query = Query::read(bytes).ok().unwrap();
        let mut out = Vec::new();
        let mut answer = Answer::new(bytes, &query, Rcode::NoError, limit, &mut out);
        for record in records {
            if !answer.add(*record) {
                break;
            }
        }
        answer.finish();
        out
    }

    #[test]
    fn addresses() {
        let bytes = query("wEb", rtype::A, None);
        let out = answer(&bytes, 512, &[Record::A([10, 0, 0, 1].into()), Record::A([10, 0, 0, 2].into())]);
        assert_eq!(out[..12], [0xab, 0xcd, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0]);
        assert_eq!(out[12..21], bytes[12..], "the question as it came");
        let records = [0xc0, 12, 0, 1, 0, 1, 0, 0, 2, 88, 0, 4, 10, 0, 0, 1, 0xc0, 12, 0, 1, 0, 1, 0, 0, 2, 88, 0, 4];
        assert_eq!(out[21..49], records);
        assert_eq!(out[49..], [10, 0, 0, 2]);
    }

    #[test]
    fn whoever_speaks_edns_is_answered_so() {
        let out = answer(&query("web", rtype::AAAA, Some(4096)), 4096, &[]);
        assert_eq!(out[10..12], [0, 1]);
        assert_eq!(out[out.len() - 11..], [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn too_many_records_are_cut() {
        let many = vec![Record::Aaaa(Ipv6Addr::LOCALHOST); 100];
        for udp_size in [None, Some(600)] {
            let bytes = query("web", rtype::AAAA, udp_size);
            let limit = Query::read(&bytes).ok().unwrap().largest_datagram();
            let out = answer(&bytes, limit, &many);
            assert!(out.len() <= limit && out.len() > limit - 28, "{} bytes", out.len());
            assert_eq!(out[2] & flag::TRUNCATED, flag::TRUNCATED);
            let records = usize::from(u16::from_be_bytes([out[6], out[7]]));
            assert_eq!(out.len(), 21 + records * 28 + udp_size.map_or(0, |_| 11));
        }
        assert_eq!(answer(&query("web", rtype::AAAA, None), 65_535, &many)[6..8], [0, 100]);
    }

    #[test]
    fn a_name_that_cannot_be_written_is_left_out() {
        let out = answer(&query("x", rtype::PTR, None), 512, &[Record::Ptr(&"a".repeat(80))]);
        assert_eq!(out[6..8], [0, 0]);
        assert_eq!(out.len(), 19);
    }
}
