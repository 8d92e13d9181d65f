//! What of a file counts for the cache: name, kind, mode, owner, attributes and data; no times.
//!
//! It is the digest of Docker's builder ("tarsum" version 1), so that the history of an image, which shows it, says the
//! same whoever built the image, and images that Docker built can serve as a cache.

use crate::source::{Kind, Node};
use sha2::{Digest as _, Sha256};

/// A digest that is being made: of the header first, then of the data.
#[derive(Clone)]
pub struct FileDigest(Sha256);

impl FileDigest {
    /// The digest of an entry with this name, before its data. User and group are names from the archive, which count
    /// beside the numbers.
    pub fn new(name: &[u8], node: &Node, user: &[u8], group: &[u8]) -> Self {
        let mut hash = Sha256::new();
        let (kind, size, link, device) = match &node.kind {
            Kind::File(size) => (b'0', *size, &[][..], (0, 0)),
            Kind::Link(target) => (b'2', 0, &target[..], (0, 0)),
            Kind::CharDevice(major, minor) => (b'3', 0, &[][..], (*major, *minor)),
            Kind::BlockDevice(major, minor) => (b'4', 0, &[][..], (*major, *minor)),
            Kind::Directory => (b'5', 0, &[][..], (0, 0)),
            Kind::Fifo => (b'6', 0, &[][..], (0, 0)),
        };
        let mut field = |name: &str, value: &[u8]| {
            hash.update(name);
            hash.update(value);
        };
        field("name", name);
        field("mode", node.mode.to_string().as_bytes());
        field("uid", node.uid.to_string().as_bytes());
        field("gid", node.gid.to_string().as_bytes());
        field("size", size.to_string().as_bytes());
        field("typeflag", &[kind]);
        field("linkname", link);
        field("uname", user);
        field("gname", group);
        field("devmajor", device.0.to_string().as_bytes());
        field("devminor", device.1.to_string().as_bytes());
        let mut xattrs: Vec<_> = node.xattrs.iter().collect();
        xattrs.sort_unstable();
        for (name, value) in xattrs {
            hash.update(name);
            hash.update(value);
        }
        Self(hash)
    }

    /// Adds data.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The digest.
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

/// The digest of several, joined by commas as Docker does it.
pub(crate) struct Combined {
    hash: Sha256,
    any: bool,
}

impl Combined {
    pub(crate) fn new() -> Self {
        Self { hash: Sha256::new(), any: false }
    }

    pub(crate) fn add(&mut self, digest: &str) {
        if std::mem::replace(&mut self.any, true) {
            self.hash.update(",");
        }
        self.hash.update(digest);
    }

    pub(crate) fn add_sorted(&mut self, digests: &mut [[u8; 32]]) {
        digests.sort_unstable();
        for digest in digests {
            self.add(&hex(digest));
        }
    }

    pub(crate) fn finish(self, prefix: &str) -> String {
        format!("{prefix}:{}", hex(&self.hash.finalize()))
    }
}

/// The same for those that are at hand.
pub(crate) fn combined<'d>(prefix: &str, digests: impl Iterator<Item = &'d String>) -> String {
    let mut all = Combined::new();
    for digest in digests {
        all.add(digest);
    }
    all.finish(prefix)
}
