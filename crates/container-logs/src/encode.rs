//! From a container's bytes to lines of the log file.

use crate::escape::escape;
use crate::timestamp::Stamp;
use crate::{Stream, attrs};
use memchr::memchr;

/// Docker's copier reads into a buffer of this size: a longer line is logged in pieces of it, and
/// only the last piece has a `\n`.
pub(crate) const PIECE: usize = 16 * 1024;

/// Splits bytes into lines and renders them.
#[derive(Debug)]
pub(crate) struct Encoder {
    /// What follows the text, for each stream, up to the time.
    tails: [Vec<u8>; 2],
    stamp: Stamp,
    /// The time of the latest line. Lines that arrive in one read share its clock reading; each is
    /// a nanosecond later than the one before, so that times order a log and `since` can resume it.
    latest: i64,
}

/// What [`Encoder::next`] found at the start of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Split {
    /// A line of that length, including its `\n`.
    Line(usize),
    /// A piece of a longer line.
    Piece(usize),
    /// The start of a line that is not complete.
    Incomplete,
}

/// Where the first line or piece of `bytes` ends.
pub(crate) fn split(bytes: &[u8]) -> Split {
    let window = &bytes[..bytes.len().min(PIECE)];
    match memchr(b'\n', window) {
        Some(at) => Split::Line(at + 1),
        None if window.len() == PIECE => Split::Piece(PIECE),
        None => Split::Incomplete,
    }
}

impl Encoder {
    pub(crate) fn new(attributes: &[(String, String)]) -> Self {
        let attributes = attrs::render(attributes);
        let tail =
            |name: &str| [b"\",\"stream\":\"", name.as_bytes(), b"\"", &attributes[..], b",\"time\":\""].concat();
        Self { tails: [tail("stdout"), tail("stderr")], stamp: Stamp::new(), latest: i64::MIN }
    }

    /// Appends one record with the text (`\n` included if the line has one).
    pub(crate) fn record(&mut self, out: &mut Vec<u8>, stream: Stream, text: &[u8], now: i64) {
        self.latest = now.max(self.latest.saturating_add(1));
        out.extend_from_slice(b"{\"log\":\"");
        escape(out, text);
        out.extend_from_slice(&self.tails[stream.index()]);
        self.stamp.append(out, self.latest);
        out.extend_from_slice(b"\"}\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_where_docker_does() {
        let mut text = vec![b'a'; PIECE + 10];
        assert_eq!(split(b""), Split::Incomplete);
        assert_eq!(split(b"abc"), Split::Incomplete);
        assert_eq!(split(b"\nabc"), Split::Line(1));
        assert_eq!(split(&text[..PIECE - 1]), Split::Incomplete);
        assert_eq!(split(&text), Split::Piece(PIECE));
        text[PIECE] = b'\n';
        assert_eq!(split(&text), Split::Piece(PIECE));
        text[PIECE - 1] = b'\n';
        assert_eq!(split(&text), Split::Line(PIECE));
    }

    #[test]
    fn a_record_is_dockers_and_times_only_grow() {
        let mut encoder = Encoder::new(&[("k".into(), "v".into())]);
        let mut out = Vec::new();
        encoder.record(&mut out, Stream::Stdout, b"hi\n", 1_500_000_000_120_000_000);
        encoder.record(&mut out, Stream::Stderr, b"<", 5);
        let expected = "{\"log\":\"hi\\n\",\"stream\":\"stdout\",\"attrs\":{\"k\":\"v\"},\"time\":\"2017-07-14T02:40:00.12Z\"}\n\
                        {\"log\":\"\\u003c\",\"stream\":\"stderr\",\"attrs\":{\"k\":\"v\"},\"time\":\"2017-07-14T02:40:00.120000001Z\"}\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}
