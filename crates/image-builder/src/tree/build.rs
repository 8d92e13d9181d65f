//! Entries as they come to an index.

use super::blocks::{Blocks, Merged, Sizes, Spill, Writer};
use super::record::Record;
use super::{Entry, Tree, TreeError, key, path};
use crate::source::Kind;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Entries that a context may have: for each hundred some bytes stay in memory.
const MAX_ENTRIES: u64 = 10_000_000;

/// What is where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Bytes of entries that are collected in memory.
    pub(super) collected: usize,
    pub(super) sizes: Sizes,
}

/// Collects entries. Later ones take the place of earlier ones with the same path.
pub struct Builder {
    bounds: Bounds,
    spill: Spill,
    collected: BTreeMap<Vec<u8>, Record>,
    size: usize,
    runs: Vec<Blocks>,
    number: u64,
    /// Files with several names.
    inodes: u64,
}

impl Builder {
    /// An index without entries.
    pub fn new(spill: Spill) -> Self {
        Self::with_bounds(spill, Bounds { collected: 4 << 20, sizes: Sizes::default() })
    }

    pub(super) fn with_bounds(spill: Spill, bounds: Bounds) -> Self {
        Self { bounds, spill, collected: BTreeMap::new(), size: 0, runs: Vec::new(), number: 0, inodes: 0 }
    }

    /// Adds an entry.
    pub fn add(&mut self, path: &[u8], entry: Entry) -> Result<(), TreeError> {
        self.number += 1;
        if self.number > MAX_ENTRIES {
            return Err(TreeError::Full);
        }
        let key = key(path);
        let cut = match entry.node.kind {
            Kind::Directory => self.collected.get(&key).map_or(0, |before| before.cut),
            _ => self.number,
        };
        let attributes = entry.node.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        // What a node of the map takes, about.
        self.size += key.len() + attributes + size_of::<Record>() + 64;
        self.collected.insert(key, Record { number: self.number, cut, entry });
        if self.size >= self.bounds.collected { self.put_down() } else { Ok(()) }
    }

    /// Adds a second name of the file at `target`.
    pub fn add_link(&mut self, path: &[u8], target: &[u8]) -> Result<(), TreeError> {
        let missing = || TreeError::Link(String::from_utf8_lossy(target).into_owned());
        let mut first = self.find(target)?.ok_or_else(missing)?;
        if !matches!(first.node.kind, Kind::File(_)) {
            return Err(missing());
        }
        if first.node.inode == 0 {
            self.inodes += 1;
            first.node.inode = self.inodes;
            self.add(target, first.clone())?;
        }
        self.add(path, first)
    }

    fn find(&self, path: &[u8]) -> Result<Option<Entry>, TreeError> {
        let key = key(path);
        if let Some(record) = self.collected.get(&key) {
            return Ok(Some(record.entry.clone()));
        }
        for run in self.runs.iter().rev() {
            if let Some(bytes) = run.find(&key)? {
                return Ok(Some(Record::decode(&bytes)?.entry));
            }
        }
        Ok(None)
    }

    /// Writes down what was collected.
    fn put_down(&mut self) -> Result<(), TreeError> {
        let mut writer = Writer::new(Sizes { memory: 0, ..self.bounds.sizes }, Arc::clone(&self.spill));
        for (key, record) in std::mem::take(&mut self.collected) {
            writer.push(&key, &record.encode())?;
        }
        self.size = 0;
        self.runs.push(writer.finish()?);
        Ok(())
    }

    /// The index of all that came.
    pub fn finish(mut self) -> Result<Tree, TreeError> {
        let sizes = self.bounds.sizes;
        let mut out = Ordered { writer: Writer::new(sizes, Arc::clone(&self.spill)), above: Vec::new() };
        if self.runs.is_empty() {
            for (key, record) in std::mem::take(&mut self.collected) {
                out.put(&key, &record)?;
            }
        } else {
            self.put_down()?;
            let mut merged = Merged::new(&self.runs)?;
            let mut waiting: Option<(Vec<u8>, Record)> = None;
            while let Some((key, bytes)) = merged.next()? {
                let mut record = Record::decode(&bytes)?;
                match waiting.take() {
                    Some((before, earlier)) if before == key => record.cut = record.cut.max(earlier.cut),
                    Some((before, whole)) => out.put(&before, &whole)?,
                    None => {}
                }
                waiting = Some((key, record));
            }
            if let Some((key, whole)) = waiting {
                out.put(&key, &whole)?;
            }
        }
        Ok(Tree { blocks: out.writer.finish()?, spill: self.spill, sizes })
    }
}

/// Writes records in order, with the directories that nobody described, and without what was replaced.
struct Ordered {
    writer: Writer,
    above: Vec<Directory>,
}

/// What was written last on the way down.
struct Directory {
    key: Vec<u8>,
    is: bool,
    cut: u64,
}

impl Ordered {
    fn put(&mut self, key: &[u8], record: &Record) -> Result<(), TreeError> {
        while self.above.last().is_some_and(|last| !super::is_below(key, &last.key)) {
            self.above.pop();
        }
        // Something above was no directory for a while, and what was in it then went with it.
        if self.above.iter().any(|dir| dir.cut > record.number) {
            return Ok(());
        }
        if self.above.last().is_some_and(|last| !last.is) {
            return Err(TreeError::Parent(String::from_utf8_lossy(&path(key)).into_owned()));
        }
        let from = self.above.last().map_or(0, |last| last.key.len() + 1);
        for end in key.iter().enumerate().skip(from).filter(|(_, b)| **b == 0).map(|(at, _)| at) {
            let missing = Record { number: record.number, cut: 0, entry: Entry::directory() };
            self.writer.push(&key[..end], &missing.encode())?;
            self.above.push(Directory { key: key[..end].to_vec(), is: true, cut: 0 });
        }
        self.writer.push(key, &record.encode())?;
        let is = record.entry.node.kind == Kind::Directory;
        self.above.push(Directory { key: key.to_vec(), is, cut: record.cut });
        Ok(())
    }
}
