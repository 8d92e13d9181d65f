//! The head of a request: where it ends, how its body is framed, and a target that `http::Uri` accepts.

use std::borrow::Cow;

/// More headers than any client sends.
pub(super) const MAX_HEADERS: usize = 100;

/// How the body that follows a head is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes; 0 without a body.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// What the front has to know of a head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) framing: Framing,
    pub(super) method: String,
    /// Without the query, percent-encoding as the client sent it.
    pub(super) path: String,
}

/// The length of the head with its empty line, when `bytes` hold it whole. `searched` bytes are known not to end it.
pub(super) fn end(bytes: &[u8], searched: usize) -> Option<usize> {
    // Empty lines before the request line belong to the head (RFC 9112, 2.2).
    let start = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n'))?;
    let from = searched.saturating_sub(3).max(start);
    memchr::memchr_iter(b'\n', &bytes[from..]).map(|i| from + i + 1).find(|&next| {
        // An empty line follows: LF, or CR LF.
        let before = &bytes[start..next - 1];
        before.ends_with(b"\n") || before.ends_with(b"\n\r")
    })
}

/// Percent-encodes in the request line's target what `http::Uri` refuses and clients send:
/// `filters={"id":["1"]}` above all. Everything else stays byte for byte.
pub(super) fn normalise(head: &[u8]) -> Cow<'_, [u8]> {
    let Some((first, last)) = target(head) else { return Cow::Borrowed(head) };
    if !head[first..last].iter().any(|&b| must_encode(b)) {
        return Cow::Borrowed(head);
    }
    let mut out = Vec::with_capacity(head.len() + 64);
    out.extend_from_slice(&head[..first]);
    for &byte in &head[first..last] {
        if must_encode(byte) {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        } else {
            out.push(byte);
        }
    }
    out.extend_from_slice(&head[last..]);
    Cow::Owned(out)
}

/// The place of the target: between the first space of the request line and the last one before `HTTP/`.
fn target(head: &[u8]) -> Option<(usize, usize)> {
    let start = head.iter().position(|b| !matches!(b, b'\r' | b'\n'))?;
    let line_end = start + memchr::memchr(b'\n', &head[start..])?;
    let line = &head[start..line_end];
    let first = memchr::memchr(b' ', line)? + 1;
    let last = memchr::memrchr(b' ', line)?;
    (first < last && line[last + 1..].starts_with(b"HTTP/")).then_some((start + first, start + last))
}

fn must_encode(byte: u8) -> bool {
    matches!(byte, 0..=b' ' | b'"' | b'#' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x7f..)
}

/// Reads what the front needs; `None` for a head that is broken or whose framing is doubtful, which
/// hyper then judges alone.
pub(super) fn summarise(head: &[u8]) -> Option<Summary> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    if !matches!(request.parse(head), Ok(httparse::Status::Complete(n)) if n == head.len()) {
        return None;
    }
    let (method, target) = (request.method?, request.path?);
    let path = target.split('?').next()?;
    // The absolute form that proxies send; hyper takes its path as well.
    let path = match path.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => path,
    };
    Some(Summary { framing: framing(request.headers)?, method: method.to_owned(), path: path.to_owned() })
}

fn framing(headers: &[httparse::Header<'_>]) -> Option<Framing> {
    let mut length = None;
    let mut chunked = false;
    for header in headers {
        if header.name.eq_ignore_ascii_case("content-length") {
            let value: u64 = std::str::from_utf8(header.value).ok()?.trim().parse().ok()?;
            if length.replace(value).is_some() {
                return None;
            }
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if chunked || !header.value.eq_ignore_ascii_case(b"chunked") {
                return None;
            }
            chunked = true;
        }
    }
    match (length, chunked) {
        (Some(_), true) => None,
        (None, true) => Some(Framing::Chunked),
        (length, false) => Some(Framing::Length(length.unwrap_or(0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_what_uri_refuses_and_nothing_else() {
        let head =
            b"GET /containers/json?all=true&filters={\"id\":[\"1 2\"]}&x=%7B'\xc3\xa9 HTTP/1.1\r\nX: {\"\r\n\r\n";
        let expected =
            b"GET /containers/json?all=true&filters=%7B%22id%22:[%221%202%22]%7D&x=%7B'%C3%A9 HTTP/1.1\r\nX: {\"\r\n\r\n";
        assert_eq!(normalise(head).as_ref(), expected);
        let plain = b"GET /a?b=c HTTP/1.1\r\n\r\n";
        assert!(matches!(normalise(plain), Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_encoded_is_a_uri() {
        for byte in 1..=255u8 {
            if byte == b'\n' {
                continue;
            }
            let head = [b"GET /x?a=", [byte].as_slice(), b" HTTP/1.1\r\n\r\n"].concat();
            let head = normalise(&head);
            let line = std::str::from_utf8(&head).unwrap().lines().next().unwrap();
            line.split(' ').nth(1).unwrap().parse::<http::Uri>().unwrap_or_else(|e| panic!("{byte:#x}: {e}"));
        }
    }

    #[test]
    fn broken_request_lines_stay_as_they_are() {
        for head in [&b"\r\n\r\n"[..], b"GET\r\n\r\n", b"GET /{\r\n\r\n", b"GET HTTP/1.1\r\n\r\n", b"\x00\xff\n\n"] {
            assert_eq!(normalise(head).as_ref(), head);
            assert_eq!(summarise(head), None);
        }
    }

    #[test]
    fn finds_the_end_at_any_split() {
        for head in [&b"\r\nGET / HTTP/1.1\r\nA: b\r\n\r\n"[..], b"GET / HTTP/1.1\nA: b\n\n", b"G /\n\r\n"] {
            let stream = [head, b"body\r\n\r\n"].concat();
            for cut in 0..head.len() {
                assert_eq!(end(&stream[..cut], 0), None, "{cut}");
                assert_eq!(end(&stream, cut), Some(head.len()), "{cut}");
            }
        }
    }

    #[test]
    fn paths() {
        let path = |target: &str| summarise(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes()).unwrap().path;
        assert_eq!(path("/a/b?c=/d"), "/a/b");
        assert_eq!(path("http://host/a?b"), "/a");
        assert_eq!(path("http://host"), "/");
    }

    #[test]
    fn framing_of_bodies() {
        let framing = |headers: &str| {
            summarise(format!("POST /x?y HTTP/1.1\r\n{headers}\r\n").as_bytes()).map(|s| (s.framing, s.path))
        };
        let some = |framing| Some((framing, "/x".to_owned()));
        assert_eq!(framing(""), some(Framing::Length(0)));
        assert_eq!(framing("content-LENGTH: 12 \r\n"), some(Framing::Length(12)));
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), some(Framing::Chunked));
        for doubtful in [
            "Content-Length: -1\r\n",
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
        ] {
            assert_eq!(framing(doubtful), None, "{doubtful}");
        }
    }
}
