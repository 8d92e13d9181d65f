//! What a shim hands to the process that forwards a container's output to a log driver.
//!
//! A packet of a `SOCK_SEQPACKET` socket is a part of what one read of the container's output gave: a header of 16
//! bytes (stream, seven zero bytes, time in nanoseconds as little-endian `i64`) and the bytes. One without bytes is the
//! end of its stream. Packets, and not a byte stream, so that a forwarder that takes over from one that died begins at
//! a boundary. Lines are cut by the receiver, at the places where Docker cuts them: the shim only copies.

use crate::Stream;
use crate::encode::{PIECE, Split, split};

/// Bytes before a packet's payload.
pub const HEADER: usize = 16;
/// Most bytes after it.
pub const MAX_PAYLOAD: usize = 32 * 1024;

/// A packet with bytes that were read at `time` (nanoseconds since the epoch).
pub fn packet(stream: Stream, bytes: &[u8], time: i64) -> Vec<u8> {
    let mut packet = Vec::with_capacity(HEADER + bytes.len());
    packet.extend_from_slice(&[stream.frame_type(), 0, 0, 0, 0, 0, 0, 0]);
    packet.extend_from_slice(&time.to_le_bytes());
    packet.extend_from_slice(bytes);
    packet
}

/// A line or a piece of a long one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it was written to.
    pub stream: Stream,
    /// When its end was read, nanoseconds since the epoch.
    pub time: i64,
    /// The text without its `\n`.
    pub text: Vec<u8>,
    /// Set when the line is longer than a message may be.
    pub piece: Option<Piece>,
}

/// Which part of a long line a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Tells the long lines of a container apart.
    pub line: u64,
    /// From 1 on.
    pub ordinal: u32,
    /// It ends the line.
    pub last: bool,
}

/// Cuts packets into lines.
#[derive(Debug, Default)]
pub struct LineCutter {
    incomplete: [Vec<u8>; 2],
    /// The long line that a stream is in the middle of, and its last ordinal.
    long: [Option<(u64, u32)>; 2],
    lines: u64,
}

impl LineCutter {
    /// Gives the lines that a packet completes to `take`. A packet that is none is ignored.
    pub fn packet(&mut self, packet: &[u8], take: &mut dyn FnMut(Line)) {
        let Some((header, bytes)) = packet.split_at_checked(HEADER) else { return };
        let stream = if header[0] == Stream::Stderr.frame_type() { Stream::Stderr } else { Stream::Stdout };
        let time = i64::from_le_bytes(header[8..].try_into().expect("eight of sixteen bytes"));
        if bytes.is_empty() {
            self.end(stream, time, take);
        } else {
            self.cut(stream, time, bytes, take);
        }
    }

    /// Gives on what is there of the last lines: the feed has ended.
    pub fn finish(&mut self, time: i64, take: &mut dyn FnMut(Line)) {
        self.end(Stream::Stdout, time, take);
        self.end(Stream::Stderr, time, take);
    }

    fn end(&mut self, stream: Stream, time: i64, take: &mut dyn FnMut(Line)) {
        let rest = std::mem::take(&mut self.incomplete[stream.index()]);
        if !rest.is_empty() {
            self.line(stream, time, &rest, true, take);
        }
        self.long[stream.index()] = None;
    }

    fn cut(&mut self, stream: Stream, time: i64, bytes: &[u8], take: &mut dyn FnMut(Line)) {
        let mut pending = std::mem::take(&mut self.incomplete[stream.index()]);
        pending.extend_from_slice(bytes);
        let mut rest = &pending[..];
        loop {
            match split(rest) {
                Split::Line(length) => {
                    self.line(stream, time, &rest[..length - 1], true, take);
                    rest = &rest[length..];
                }
                Split::Piece(length) => {
                    self.line(stream, time, &rest[..length], false, take);
                    rest = &rest[length..];
                }
                Split::Incomplete => break,
            }
        }
        self.incomplete[stream.index()] = rest.to_vec();
        debug_assert!(self.incomplete[stream.index()].len() < PIECE);
    }

    fn line(&mut self, stream: Stream, time: i64, text: &[u8], last: bool, take: &mut dyn FnMut(Line)) {
        let long = &mut self.long[stream.index()];
        let piece = match (long.take(), last) {
            (None, true) => None,
            (None, false) => {
                self.lines += 1;
                *long = Some((self.lines, 1));
                Some(Piece { line: self.lines, ordinal: 1, last: false })
            }
            (Some((line, ordinal)), last) => {
                let ordinal = ordinal.saturating_add(1);
                *long = (!last).then_some((line, ordinal));
                Some(Piece { line, ordinal, last })
            }
        };
        take(Line { stream, time, text: text.to_vec(), piece });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(packets: &[(Stream, &[u8])]) -> Vec<(Stream, String, Option<Piece>)> {
        let (mut cutter, mut found) = (LineCutter::default(), Vec::new());
        let mut take = |line: Line| found.push((line.stream, String::from_utf8(line.text).unwrap(), line.piece));
        for (stream, bytes) in packets {
            cutter.packet(&packet(*stream, bytes, 7), &mut take);
        }
        cutter.packet(b"short", &mut take);
        cutter.finish(9, &mut take);
        found
    }

    #[test]
    fn packets_become_lines() {
        let (out, err) = (Stream::Stdout, Stream::Stderr);
        let found = lines(&[(out, b"a\nb"), (err, b"e\n\n"), (out, b"c\nrest"), (out, b""), (err, b"last")]);
        let texts: Vec<_> = found.iter().map(|(stream, text, _)| (*stream, text.as_str())).collect();
        assert_eq!(texts, [(out, "a"), (err, "e"), (err, ""), (out, "bc"), (out, "rest"), (err, "last")]);
    }

    #[test]
    fn long_lines_come_in_numbered_pieces() {
        let long = [vec![b'x'; 2 * PIECE + 5], b"\nshort\n".to_vec()].concat();
        let found = lines(&[(Stream::Stdout, &long[..100]), (Stream::Stdout, &long[100..])]);
        let pieces: Vec<_> = found.iter().map(|(_, text, piece)| (text.len(), *piece)).collect();
        let piece = |ordinal, last| Some(Piece { line: 1, ordinal, last });
        assert_eq!(pieces, [(PIECE, piece(1, false)), (PIECE, piece(2, false)), (5, piece(3, true)), (5, None)]);
    }
}
