//! An entry of the index as bytes.

use super::Entry;
use crate::source::{Kind, Node};
use std::io;

/// An entry, and when it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Its number among all that came.
    pub(super) number: u64,
    /// The last number under which this path was no directory: what came below it before is gone. 0 for never.
    pub(super) cut: u64,
    pub(super) entry: Entry,
}

impl Record {
    pub(super) fn encode(&self) -> Vec<u8> {
        let Entry { node, digest } = &self.entry;
        let mut out = Vec::with_capacity(128);
        for number in [self.number, self.cut, node.data, node.inode, node.mtime.0.cast_unsigned()] {
            out.extend(number.to_le_bytes());
        }
        for number in [node.mtime.1, node.mode, node.uid, node.gid] {
            out.extend(number.to_le_bytes());
        }
        out.extend(digest);
        match &node.kind {
            Kind::File(size) => put(&mut out, 0, &size.to_le_bytes()),
            Kind::Directory => put(&mut out, 1, &[]),
            Kind::Link(target) => put(&mut out, 2, target),
            Kind::CharDevice(major, minor) => put(&mut out, 3, &pair(*major, *minor)),
            Kind::BlockDevice(major, minor) => put(&mut out, 4, &pair(*major, *minor)),
            Kind::Fifo => put(&mut out, 5, &[]),
        }
        for (name, value) in &node.xattrs {
            put(&mut out, 6, name);
            put(&mut out, 7, value);
        }
        out
    }

    /// `None` for bytes that are no record.
    fn read(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let (number, cut, data, inode) = (long(bytes)?, long(bytes)?, long(bytes)?, long(bytes)?);
        let seconds = long(bytes)?.cast_signed();
        let (nanos, mode, uid, gid) = (int(bytes)?, int(bytes)?, int(bytes)?, int(bytes)?);
        let digest = take(bytes, 32)?.try_into().ok()?;
        let kind = match field(bytes)? {
            (0, mut size) => Kind::File(long(&mut size)?),
            (1, _) => Kind::Directory,
            (2, target) => Kind::Link(target.to_vec()),
            (3, mut device) => Kind::CharDevice(int(&mut device)?, int(&mut device)?),
            (4, mut device) => Kind::BlockDevice(int(&mut device)?, int(&mut device)?),
            (5, _) => Kind::Fifo,
            _ => return None,
        };
        let mut xattrs = Vec::new();
        while !bytes.is_empty() {
            let ((6, name), (7, value)) = (field(bytes)?, field(bytes)?) else { return None };
            xattrs.push((name.to_vec(), value.to_vec()));
        }
        let node = Node { kind, mode, uid, gid, mtime: (seconds, nanos), xattrs, data, inode };
        Some(Self { number, cut, entry: Entry { node, digest } })
    }

    pub(super) fn decode(bytes: &[u8]) -> io::Result<Self> {
        Self::read(bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the index of a context is damaged"))
    }
}

fn put(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend(bytes);
}

fn pair(major: u32, minor: u32) -> [u8; 8] {
    (u64::from(minor) << 32 | u64::from(major)).to_le_bytes()
}

fn take<'b>(bytes: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
    let (first, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(first)
}

fn long(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes, 8)?.try_into().ok().map(u64::from_le_bytes)
}

fn int(bytes: &mut &[u8]) -> Option<u32> {
    take(bytes, 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn field<'b>(bytes: &mut &'b [u8]) -> Option<(u8, &'b [u8])> {
    let tag = *take(bytes, 1)?.first()?;
    let length = int(bytes)?;
    Some((tag, take(bytes, length as usize)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_comes_back() {
        let kinds = [
            Kind::File(u64::MAX),
            Kind::Directory,
            Kind::Link(b"a/b".to_vec()),
            Kind::CharDevice(1, u32::MAX),
            Kind::BlockDevice(7, 0),
            Kind::Fifo,
        ];
        for kind in kinds {
            let mut entry = Entry::directory();
            entry.node = Node {
                kind,
                mode: 0o4711,
                uid: 1,
                gid: 2,
                mtime: (-5, 6),
                xattrs: vec![(b"user.a".to_vec(), b"".to_vec()), (b"b".to_vec(), vec![0; 300])],
                data: 8,
                inode: 9,
            };
            entry.digest = [7; 32];
            let record = Record { number: 3, cut: 4, entry };
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes).unwrap(), record);
            assert!(Record::decode(&bytes[..bytes.len() - 1]).is_err());
        }
    }
}
