//! Entries as bytes in large pieces of memory: a context may have a million, and most of an entry's fields are small
//! numbers and empty lists. A file takes 50 bytes here and 140 as a structure.

use super::Entry;
use crate::source::{Kind, Node};

/// Bytes of a piece; a longer entry has one for itself.
const PIECE: usize = 64 << 10;
const DIRECTORY: u8 = 1;

/// Where an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    piece: u32,
    offset: u32,
}

/// The entries. What is removed takes its place until the end.
#[derive(Debug, Default)]
pub(super) struct Packed {
    pieces: Vec<Vec<u8>>,
    buffer: Vec<u8>,
    bytes: usize,
}

impl Packed {
    /// Bytes that are used.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn add(&mut self, entry: &Entry) -> At {
        self.buffer.clear();
        write(&mut self.buffer, entry);
        let length = self.buffer.len();
        if self.pieces.last().is_none_or(|piece| piece.len() + length > piece.capacity()) {
            self.pieces.push(Vec::with_capacity(length.max(PIECE)));
        }
        let number = self.pieces.len() - 1;
        let piece = &mut self.pieces[number];
        let offset = piece.len();
        piece.extend_from_slice(&self.buffer);
        self.bytes += length;
        // Two thousand million entries are more than a tree takes, and an offset is below a piece's size.
        At { piece: number as u32, offset: offset as u32 }
    }

    pub(super) fn get(&self, at: At) -> Entry {
        read(&mut Reader(self.at(at)))
    }

    /// Whether an entry is a directory.
    pub(super) fn is_directory(&self, at: At) -> bool {
        self.at(at).first() == Some(&DIRECTORY)
    }

    fn at(&self, at: At) -> &[u8] {
        &self.pieces[at.piece as usize][at.offset as usize..]
    }
}

fn write(out: &mut Vec<u8>, entry: &Entry) {
    let Entry { node, digest } = entry;
    let kind = match node.kind {
        Kind::File(_) => 0,
        Kind::Directory => DIRECTORY,
        Kind::Link(_) => 2,
        Kind::CharDevice(..) => 3,
        Kind::BlockDevice(..) => 4,
        Kind::Fifo => 5,
    };
    out.push(kind);
    match &node.kind {
        Kind::File(size) => number(out, *size),
        Kind::Link(target) => bytes(out, target),
        Kind::CharDevice(major, minor) | Kind::BlockDevice(major, minor) => {
            number(out, u64::from(*major));
            number(out, u64::from(*minor));
        }
        Kind::Directory | Kind::Fifo => {}
    }
    for value in [node.mode, node.uid, node.gid, node.mtime.1] {
        number(out, u64::from(value));
    }
    // Times before the epoch are rare, and right at full length.
    number(out, node.mtime.0 as u64);
    number(out, node.data);
    number(out, node.inode);
    number(out, node.xattrs.len() as u64);
    for (name, value) in &node.xattrs {
        bytes(out, name);
        bytes(out, value);
    }
    out.extend_from_slice(digest);
}

fn read(reader: &mut Reader<'_>) -> Entry {
    let kind = match reader.byte() {
        DIRECTORY => Kind::Directory,
        2 => Kind::Link(reader.bytes()),
        3 => Kind::CharDevice(reader.number() as u32, reader.number() as u32),
        4 => Kind::BlockDevice(reader.number() as u32, reader.number() as u32),
        5 => Kind::Fifo,
        _ => Kind::File(reader.number()),
    };
    let [mode, uid, gid, nanos] = [(); 4].map(|()| reader.number() as u32);
    let mtime = (reader.number() as i64, nanos);
    let (data, inode) = (reader.number(), reader.number());
    let xattrs = (0..reader.number()).map(|_| (reader.bytes(), reader.bytes())).collect();
    let mut digest = [0; 32];
    digest.copy_from_slice(reader.take(32));
    Entry { node: Node { kind, mode, uid, gid, mtime, xattrs, data, inode }, digest }
}

/// Seven bits a byte, the lowest first.
fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn bytes(out: &mut Vec<u8>, data: &[u8]) {
    number(out, data.len() as u64);
    out.extend_from_slice(data);
}

/// Reads what was written here, and so finds what it expects.
struct Reader<'p>(&'p [u8]);

impl<'p> Reader<'p> {
    fn take(&mut self, length: usize) -> &'p [u8] {
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn number(&mut self) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.byte();
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
            shift += 7;
        }
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = self.number() as usize;
        self.take(length).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::NO_TIME;

    #[test]
    fn entries_come_back() {
        let mut packed = Packed::default();
        let kinds = [
            Kind::File(0),
            Kind::File(u64::MAX),
            Kind::Directory,
            Kind::Link(vec![b'l'; 200_000]),
            Kind::CharDevice(1, u32::MAX),
            Kind::BlockDevice(300, 0),
            Kind::Fifo,
        ];
        let mut added = Vec::new();
        for round in 0..2000u64 {
            for kind in kinds.iter().skip(usize::from(round > 2)).filter(|kind| round < 3 || **kind != kinds[3]) {
                let mtime = if round % 2 == 0 { NO_TIME } else { (-5, 999_999_999) };
                let xattrs = (0..round % 3).map(|n| (vec![n as u8; 3], vec![7; n as usize * 100])).collect();
                let node = Node {
                    kind: kind.clone(),
                    mode: 0o7777,
                    uid: 1,
                    gid: u32::MAX,
                    mtime,
                    xattrs,
                    data: round << 30,
                    inode: round % 2,
                };
                let entry = Entry { node, digest: [round as u8; 32] };
                added.push((packed.add(&entry), entry));
            }
        }
        for (at, entry) in added {
            assert_eq!(packed.get(at), entry);
            assert_eq!(packed.is_directory(at), entry.node.kind == Kind::Directory);
        }
    }
}
