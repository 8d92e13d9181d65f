//! One line of a json-file log, read without trust: whatever is not a record is `None`.

use crate::Stream;
use memchr::memchr2;

/// The parts of a line, as they stand in the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// The text, escaped.
    pub(crate) log: &'a [u8],
    pub(crate) stream: Stream,
    /// The object of attributes.
    pub(crate) attrs: &'a [u8],
    /// RFC 3339.
    pub(crate) time: &'a [u8],
}

/// Parses a line without its `\n`.
pub(crate) fn parse(line: &[u8]) -> Option<Record<'_>> {
    parse_own(line).or_else(|| parse_any(line))
}

/// A line as this crate's writer and dockerd write it, which is nearly every one.
fn parse_own(line: &[u8]) -> Option<Record<'_>> {
    let text = line.strip_prefix(b"{\"log\":\"")?;
    let (log, rest) = text.split_at(skip_string(text)?);
    let rest = rest.strip_prefix(b"\",\"stream\":\"std")?;
    let (stream, rest) = match rest.strip_prefix(b"out\"") {
        Some(rest) => (Stream::Stdout, rest),
        None => (Stream::Stderr, rest.strip_prefix(b"err\"")?),
    };
    let (attrs, rest) = match rest.strip_prefix(b",\"attrs\":") {
        Some(rest) if rest.first() == Some(&b'{') => object(rest)?,
        Some(_) => return None,
        None => (&b""[..], rest),
    };
    let time = rest.strip_prefix(b",\"time\":\"")?.strip_suffix(b"\"}")?;
    let is_plain = !time.is_empty() && time.iter().all(|b| b.is_ascii_digit() || b"-:.+TZ".contains(b));
    is_plain.then_some(Record { log, stream, attrs, time })
}

/// Keys may come in any order; unknown ones are skipped if their value is a string or a flat object.
fn parse_any(line: &[u8]) -> Option<Record<'_>> {
    let mut record = Record { log: b"", stream: Stream::Stdout, attrs: b"", time: b"" };
    let mut rest = skip_space(line).strip_prefix(b"{")?;
    loop {
        let (key, after) = string(skip_space(rest))?;
        rest = skip_space(skip_space(after).strip_prefix(b":")?);
        let value;
        (value, rest) = if rest.first() == Some(&b'{') { object(rest)? } else { string(rest)? };
        match key {
            b"log" => record.log = value,
            b"stream" if value == b"stderr" => record.stream = Stream::Stderr,
            b"attrs" => record.attrs = value,
            b"time" => record.time = value,
            _ => {}
        }
        rest = skip_space(rest);
        match rest.split_first()? {
            (b',', after) => rest = after,
            (b'}', after) if skip_space(after).is_empty() => break,
            _ => return None,
        }
    }
    (!record.time.is_empty()).then_some(record)
}

fn skip_space(text: &[u8]) -> &[u8] {
    text.trim_ascii_start()
}

/// A string without its quotes, and what follows it.
fn string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(b"\"")?;
    let len = skip_string(text)?;
    Some((&text[..len], &text[len + 1..]))
}

/// An object of strings with its braces, and what follows it.
fn object(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => at += skip_string(&text[at + 1..])? + 2,
            b'}' => return Some(text.split_at(at + 1)),
            b'{' | b'[' => return None,
            _ => at += 1,
        }
    }
}

/// Bytes up to the quote that ends the string which `text` begins with.
pub(crate) fn skip_string(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += find2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// `memchr2`, quicker when what is looked for is near, as escapes often are.
fn find2(a: u8, b: u8, text: &[u8]) -> Option<usize> {
    let near = text.len().min(16);
    let found = text[..near].iter().position(|byte| *byte == a || *byte == b);
    found.or_else(|| memchr2(a, b, &text[near..]).map(|at| near + at))
}

/// Appends what an escaped string means; what is no escape stays as it is.
pub(crate) fn unescape(out: &mut Vec<u8>, mut text: &[u8]) {
    while let Some(at) = find2(b'\\', b'\\', text) {
        out.extend_from_slice(&text[..at]);
        let Some(&kind) = text.get(at + 1) else {
            out.push(b'\\');
            return;
        };
        text = &text[at + 2..];
        match kind {
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'u' => text = unescape_unit(out, text),
            other => out.push(other),
        }
    }
    out.extend_from_slice(text);
}

/// After `\u`: a code unit, or two that make a pair. Returns what follows.
fn unescape_unit<'a>(out: &mut Vec<u8>, text: &'a [u8]) -> &'a [u8] {
    let Some((unit, mut rest)) = hex_unit(text) else {
        out.extend_from_slice(b"\\u");
        return text;
    };
    let mut code = u32::from(unit);
    if (0xD800..0xDC00).contains(&unit)
        && let Some((low @ 0xDC00..0xE000, after)) = rest.strip_prefix(b"\\u").and_then(hex_unit)
    {
        code = 0x1_0000 + ((code - 0xD800) << 10) + (u32::from(low) - 0xDC00);
        rest = after;
    }
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    rest
}

fn hex_unit(text: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, rest) = text.split_at_checked(4)?;
    let unit = digits.iter().try_fold(0, |n, d| Some(n << 4 | char::from(*d).to_digit(16)? as u16))?;
    Some((unit, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::Encoder;

    fn unescaped(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        unescape(&mut out, text);
        out
    }

    #[test]
    fn what_is_written_is_understood() {
        let texts: [&[u8]; 4] = [b"plain\n", b"\"\\ <&>\x00\x1f\x7f\t\r\n", "é🦀\u{2028}".as_bytes(), b""];
        for text in texts {
            let mut line = Vec::new();
            Encoder::new(&[("a".into(), "}\"{".into())]).record(&mut line, Stream::Stderr, text, 7);
            let line = line.strip_suffix(b"\n").expect("a line");
            let record = parse_own(line).expect("a record");
            assert_eq!(parse_any(line), Some(parse_own(line).expect("a record")));
            assert_eq!(unescaped(record.log), text);
            assert_eq!(record.stream, Stream::Stderr);
            assert_eq!(record.attrs, b"{\"a\":\"}\\\"{\"}");
            assert_eq!(record.time, b"1970-01-01T00:00:00.000000007Z");
        }
    }

    #[test]
    fn other_writers_lines_are_understood() {
        let line = b" { \"time\":\"t\", \"x\":\"y\" , \"log\":\"\\ud83e\\udd80\\t\\/\" } \r\n";
        let record = parse(line).expect("a record");
        assert_eq!(unescaped(record.log), "🦀\t/".as_bytes());
        assert_eq!(unescaped(b"\\ud83e!\\u12"), "\u{fffd}!\\u12".as_bytes());
    }

    #[test]
    fn damaged_lines_are_no_records() {
        let mut line = Vec::new();
        Encoder::new(&[("a".into(), "b".into())]).record(&mut line, Stream::Stdout, b"x\\\"y\n", 7);
        let whole = line.len() - 1;
        for cut in 0..whole {
            assert_eq!(parse(&line[..cut]), None, "cut at {cut}");
        }
        for bad in ["", "{}", "[]", "null", "{\"log\":1}", "{\"log\":\"a\"}", "{\"log\":\"a\",\"time\":\"t\"} {}"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
        for at in 0..whole {
            for byte in [0, b'"', b'\\', b'{', b'}', 0xff] {
                let mut damaged = line.clone();
                damaged[at] = byte;
                let damaged = damaged.strip_suffix(b"\n").unwrap_or(&damaged);
                if let Some(record) = parse(damaged) {
                    unescaped(record.log);
                    assert_eq!(parse_any(damaged), Some(record));
                }
            }
        }
    }
}
