//! Finds the end of a request's body in the byte stream without changing a byte.

use super::head::Framing;

/// The longest line of a chunk's head or a trailer.
const MAX_LINE: usize = 16 * 1024;

/// A run of bytes of the same kind at the front of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// How many bytes; at least one, unless the body is at its end.
    pub(super) length: usize,
    /// Whether they are the body's own, not its framing.
    pub(super) data: bool,
}

/// The framing is broken; only hyper may judge it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// Where in a body the stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BodyEnd {
    /// So many bytes are left.
    Length(u64),
    /// In the line with a chunk's size, of which `line` was read.
    ChunkSize { line: Vec<u8> },
    /// In a chunk's bytes.
    ChunkData { left: u64 },
    /// In the line end after a chunk's bytes.
    ChunkEnd,
    /// In the trailers; so many bytes of the current line were read.
    Trailer { line: usize },
    /// Behind the body.
    Done,
}

impl BodyEnd {
    pub(super) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(0) => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::ChunkSize { line: Vec::new() },
        }
    }

    pub(super) fn is_done(&self) -> bool {
        *self == Self::Done
    }

    /// How many bytes certainly belong to the body; `None` when that is not known ahead.
    pub(super) fn known_left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            _ => None,
        }
    }

    /// Consumes a run at the front of `input`.
    pub(super) fn advance(&mut self, input: &[u8]) -> Result<Run, Broken> {
        let Some(&first) = input.first() else { return Ok(Run { length: 0, data: false }) };
        match self {
            Self::Done => Ok(Run { length: 0, data: false }),
            Self::Length(left) => {
                let length = at_most(input, *left);
                *left -= length as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(Run { length, data: true })
            }
            Self::ChunkData { left } => {
                let length = at_most(input, *left);
                *left -= length as u64;
                if *left == 0 {
                    *self = Self::ChunkEnd;
                }
                Ok(Run { length, data: true })
            }
            Self::ChunkSize { line } => {
                let (length, ended) = line_part(input);
                line.extend_from_slice(&input[..length]);
                if line.len() > MAX_LINE {
                    return Err(Broken);
                }
                if ended {
                    *self = match chunk_size(line)? {
                        0 => Self::Trailer { line: 0 },
                        left => Self::ChunkData { left },
                    };
                }
                Ok(Run { length, data: false })
            }
            Self::ChunkEnd => {
                match first {
                    b'\r' => {}
                    b'\n' => *self = Self::ChunkSize { line: Vec::new() },
                    _ => return Err(Broken),
                }
                Ok(Run { length: 1, data: false })
            }
            Self::Trailer { line } => {
                let (length, ended) = line_part(input);
                *line += length;
                if *line > MAX_LINE {
                    return Err(Broken);
                }
                if ended {
                    // An empty line is a line feed, or that and a carriage return.
                    let empty = *line == 1 || (*line == 2 && (length == 1 || first == b'\r'));
                    *self = if empty { Self::Done } else { Self::Trailer { line: 0 } };
                }
                Ok(Run { length, data: false })
            }
        }
    }
}

fn at_most(input: &[u8], left: u64) -> usize {
    input.len().min(usize::try_from(left).unwrap_or(usize::MAX))
}

/// The bytes up to and with the line feed, and whether there is one.
fn line_part(input: &[u8]) -> (usize, bool) {
    match memchr::memchr(b'\n', input) {
        Some(at) => (at + 1, true),
        None => (input.len(), false),
    }
}

/// The size in a chunk's head; extensions after `;` say nothing here.
fn chunk_size(line: &[u8]) -> Result<u64, Broken> {
    let text = std::str::from_utf8(line).map_err(|_| Broken)?;
    let digits = text.split(';').next().unwrap_or_default().trim();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Broken);
    }
    u64::from_str_radix(digits, 16).map_err(|_| Broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `stream` in pieces of `step` bytes; gives the length of the body with framing, and its data.
    fn run(framing: Framing, stream: &[u8], step: usize) -> Result<(usize, Vec<u8>), Broken> {
        let (mut at, mut data) = (0, Vec::new());
        let mut end = BodyEnd::new(framing);
        while !end.is_done() && at < stream.len() {
            let piece = &stream[at..stream.len().min(at + step)];
            let run = end.advance(piece)?;
            assert!(run.length > 0);
            if run.data {
                data.extend_from_slice(&piece[..run.length]);
            }
            at += run.length;
        }
        assert!(end.is_done(), "{end:?}");
        Ok((at, data))
    }

    #[test]
    fn ends_at_any_split() {
        let chunked = b"4\r\nWiki\r\nA;ext=\"1\"\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n";
        let stream = [&chunked[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
        for step in 1..stream.len() {
            assert_eq!(run(Framing::Chunked, &stream, step), Ok((chunked.len(), b"Wiki0123456789".to_vec())), "{step}");
            assert_eq!(run(Framing::Length(5), b"helloGET", step), Ok((5, b"hello".to_vec())));
            assert_eq!(run(Framing::Chunked, b"0\n\nX", step), Ok((3, Vec::new())));
        }
        assert_eq!(run(Framing::Length(0), b"GET", 1), Ok((0, Vec::new())));
    }

    #[test]
    fn refuses_broken_chunks() {
        for bad in ["x\r\n", "\r\n", "-1\r\n", "4\r\nWikiX", "fffffffffffffffff\r\n"] {
            assert_eq!(run(Framing::Chunked, bad.as_bytes(), 64), Err(Broken), "{bad}");
        }
        assert_eq!(run(Framing::Chunked, &vec![b'0'; MAX_LINE + 2], 999), Err(Broken));
    }
}
