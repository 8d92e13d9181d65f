//! A door for the fuzz target, which sees only what is public.

use crate::message::{Answer, Judgement, Query, Rcode, Record, address_of, judge, refuse, truncate};
use std::net::Ipv4Addr;

/// Does with `bytes` whatever is done with messages of clients and of servers, and checks what must hold.
pub fn message(bytes: &[u8]) {
    let mut out = Vec::new();
    if bytes.len() >= 12 {
        refuse(bytes, Rcode::FormatError, &mut out);
        assert_eq!(out.len(), 12);
    }
    let Ok(query) = Query::read(bytes) else { return };
    assert!(query.question_end <= bytes.len());
    let text = query.name.text().unwrap_or_default();
    assert!(text.len() <= 253);
    let _ = address_of(text);
    let limit = query.largest_datagram();
    let mut answer = Answer::new(bytes, &query, Rcode::NoError, limit, &mut out);
    while answer.add(Record::A(Ipv4Addr::LOCALHOST)) {}
    answer.finish();
    assert!(out.len() <= limit);
    assert_eq!(judge(&out, bytes, query.question_end), Judgement::Answer);
    truncate(&mut out, query.question_end);
    assert_eq!(judge(&out, bytes, query.question_end), Judgement::Answer);
    judge(bytes, &out, query.question_end);
}

#[cfg(test)]
mod tests {
    use super::message;

    /// A little of what the fuzz target does for hours: real messages with a few bytes changed, cut or added.
    #[test]
    fn damaged_messages() {
        let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\x01\x03web\x03net\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0";
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        for _ in 0..50_000 {
            let mut bytes = query.to_vec();
            for _ in 0..random(4) {
                let at = random(bytes.len());
                bytes[at] = random(256) as u8;
            }
            match random(4) {
                0 => bytes.truncate(random(bytes.len() + 1)),
                1 => bytes.extend((0..random(40)).map(|n| n as u8)),
                _ => {}
            }
            message(&bytes);
        }
    }
}
