//! Which ranges of a partial blob are complete, in a small file beside it.
//!
//! The file begins with the boot in which the data was written and the blob's size, and goes on with ranges. A range is
//! noted after its bytes were given to the kernel, so after any death of the process it tells the truth; nothing is
//! synced, so after another boot it is not believed. Every record carries a check, because a full disk or a hostile
//! hand may have cut the file anywhere.

use super::ranges::Ranges;
use gantry_model::{Error, Result, error::Context};
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    ops::Range,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Version of the format, and the boot, whose ids are 36 characters long.
const MAGIC: &[u8; 8] = b"gantry-1";
const BOOT: usize = 36;
const CHECK: usize = 8;
const HEAD: usize = MAGIC.len() + BOOT + 8 + CHECK;
const RECORD: usize = 8 + 8 + CHECK;
/// How the name of a journal ends that is being begun.
pub(super) const UNFINISHED: &str = ".new";
/// Bytes of journal that are read; far more than the engine writes for the largest blob.
const MOST: u64 = 64 << 20;

/// The journal, open for more ranges.
#[derive(Debug)]
pub(super) struct Journal(File);

impl Journal {
    /// Begins a journal that says this much already.
    pub(super) fn create(path: &Path, boot: &str, size: u64, ranges: &Ranges) -> Result<Self> {
        let fresh = path.with_extension(&UNFINISHED[1..]);
        let make = || -> std::io::Result<File> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            let mut bytes = head(boot, size);
            ranges.iter().for_each(|range| bytes.extend(record(&range)));
            file.write_all(&bytes)?;
            fs::rename(&fresh, path)?;
            Ok(file)
        };
        let made = make().inspect_err(|_| drop(fs::remove_file(&fresh)));
        made.map(Self).map_err(Error::from).context("cannot note what arrived of the blob")
    }

    /// Notes that these bytes are there.
    pub(super) fn add(&mut self, range: &Range<u64>) -> std::io::Result<()> {
        self.0.write_all(&record(range))
    }
}

/// What a journal says about a blob of this size; nothing when it is damaged, or from another boot.
pub(super) fn read(path: &Path, boot: &str, size: u64) -> Option<Ranges> {
    if fs::metadata(path).ok()?.len() > MOST {
        return None;
    }
    let bytes = fs::read(path).ok()?;
    let records = bytes.strip_prefix(head(boot, size).as_slice())?;
    let mut ranges = Ranges::default();
    for bytes in records.chunks_exact(RECORD) {
        let number = |at: usize| bytes[at..at + 8].try_into().map(u64::from_le_bytes);
        let range = number(0).ok()?..number(8).ok()?;
        if bytes != record(&range).as_slice() || range.end > size {
            break;
        }
        ranges.insert(range);
    }
    Some(ranges)
}

fn head(boot: &str, size: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(boot.bytes().chain(std::iter::repeat(b' ')).take(BOOT));
    bytes.extend(size.to_le_bytes());
    checked(bytes, HEAD)
}

fn record(range: &Range<u64>) -> Vec<u8> {
    checked([range.start.to_le_bytes(), range.end.to_le_bytes()].concat(), RECORD)
}

fn checked(mut bytes: Vec<u8>, length: usize) -> Vec<u8> {
    let check = Sha256::digest(&bytes);
    bytes.extend(&check[..CHECK]);
    debug_assert_eq!(bytes.len(), length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::{HEAD, Journal, RECORD, read};
    use crate::partial::ranges::Ranges;
    use std::fs;

    const BOOT: &str = "01234567-89ab-cdef-0123-456789abcdef";

    #[test]
    fn tells_the_truth_or_less() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.ranges");
        let mut first = Ranges::default();
        first.insert(0..10);
        let mut journal = Journal::create(&path, BOOT, 100, &first).unwrap();
        journal.add(&(20..30)).unwrap();
        journal.add(&(10..15)).unwrap();
        let told = |size, boot| read(&path, boot, size).map(|r| r.iter().map(|r| (r.start, r.end)).collect::<Vec<_>>());
        assert_eq!(told(100, BOOT), Some(vec![(0, 15), (20, 30)]));
        assert_eq!(told(101, BOOT), None);
        assert_eq!(told(100, "another"), None);

        let whole = fs::read(&path).unwrap();
        assert_eq!(whole.len(), HEAD + 3 * RECORD);
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(told(100, BOOT), Some(vec![(0, 10), (20, 30)]));
        let mut damaged = whole.clone();
        damaged[HEAD + RECORD] ^= 1;
        fs::write(&path, &damaged).unwrap();
        assert_eq!(told(100, BOOT), Some(vec![(0, 10)]));
        damaged[3] ^= 1;
        fs::write(&path, &damaged).unwrap();
        assert_eq!(told(100, BOOT), None);
    }

    #[test]
    fn a_range_beyond_the_end_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.ranges");
        let mut journal = Journal::create(&path, BOOT, 100, &Ranges::default()).unwrap();
        journal.add(&(0..101)).unwrap();
        assert_eq!(read(&path, BOOT, 100), Some(Ranges::default()));
    }
}
