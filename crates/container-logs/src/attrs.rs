//! Attributes of a line (`labels`, `env`): how they are stored and how `details` shows them.

use crate::escape::escape;
use crate::record::{skip_string, unescape};

/// `,"attrs":{"k":"v"}` in the order of the keys, as Go marshals a map; empty without attributes.
pub(crate) fn render(attrs: &[(String, String)]) -> Vec<u8> {
    let mut sorted: Vec<_> = attrs.iter().collect();
    sorted.sort();
    sorted.dedup_by(|a, b| a.0 == b.0);
    let mut out = Vec::new();
    for (key, value) in sorted {
        out.extend_from_slice(if out.is_empty() { b",\"attrs\":{\"" } else { b",\"" });
        escape(&mut out, key.as_bytes());
        out.extend_from_slice(b"\":\"");
        escape(&mut out, value.as_bytes());
        out.push(b'"');
    }
    if !out.is_empty() {
        out.push(b'}');
    }
    out
}

/// Appends `k=v,k2=v2`, each part as in a URL's query, from a stored `{"k":"v"}`.
pub(crate) fn append_details(out: &mut Vec<u8>, object: &[u8]) {
    let mut pairs = pairs(object);
    pairs.sort();
    for (i, (key, value)) in pairs.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        query_escape(out, key);
        out.push(b'=');
        query_escape(out, value);
    }
}

/// What can be read of an object of strings.
fn pairs(object: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    let mut strings = Vec::new();
    let mut at = 0;
    while let Some(start) = object.get(at..).and_then(|rest| memchr::memchr(b'"', rest)) {
        let Some(len) = skip_string(&object[at + start + 1..]) else { break };
        let mut text = Vec::new();
        unescape(&mut text, &object[at + start + 1..at + start + 1 + len]);
        strings.push(text);
        at += start + len + 2;
    }
    let mut strings = strings.into_iter();
    while let (Some(key), Some(value)) = (strings.next(), strings.next()) {
        found.push((key, value));
    }
    found
}

/// Go's `url.QueryEscape`.
fn query_escape(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte),
            b' ' => out.push(b'+'),
            _ => out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_sorted_and_shown_as_a_query() {
        let attrs = [("b".to_owned(), "x y\"".to_owned()), ("a".to_owned(), "1=2,é".to_owned())];
        let stored = render(&attrs);
        assert_eq!(String::from_utf8_lossy(&stored), ",\"attrs\":{\"a\":\"1=2,é\",\"b\":\"x y\\\"\"}");
        let mut shown = Vec::new();
        append_details(&mut shown, &stored[9..]);
        assert_eq!(String::from_utf8_lossy(&shown), "a=1%3D2%2C%C3%A9,b=x+y%22");
        assert!(render(&[]).is_empty());
    }

    #[test]
    fn damaged_objects_show_what_is_there() {
        for object in [&b"{"[..], b"", b"{\"a", b"{\"a\":\"b\\", b"{\"a\":\"1\",\"b\""] {
            append_details(&mut Vec::new(), object);
        }
    }
}
