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
