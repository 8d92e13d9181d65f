//! Sorted pairs of keys and values in blocks: in memory as long as they are few, else in a file. What is always in memory
//! is the first key of each block.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

/// Where files come from; each must be a new one that nobody else has.
pub type Spill = Arc<dyn Fn() -> io::Result<File> + Send + Sync>;

/// How much is where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Bytes of a block.
    pub(super) block: usize,
    /// Bytes in memory beyond which a file is used.
    pub(super) memory: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { block: 16 << 10, memory: 4 << 20 }
    }
}

#[derive(Debug)]
enum Store {
    Memory(Vec<u8>),
    File(File),
}

#[derive(Debug)]
struct Block {
    first: Box<[u8]>,
    at: u64,
    length: usize,
}

/// The pairs.
#[derive(Debug)]
pub(super) struct Blocks {
    store: Store,
    index: Vec<Block>,
    /// The block that was read last, because the next question is often about it.
    last: Mutex<(usize, Arc<Vec<u8>>)>,
}

/// Writes pairs, which must come in order.
pub(super) struct Writer {
    sizes: Sizes,
    spill: Spill,
    store: Store,
    at: u64,
    current: Vec<u8>,
    first: Box<[u8]>,
    blocks: Vec<Block>,
}

impl Writer {
    pub(super) fn new(sizes: Sizes, spill: Spill) -> Self {
        let store = Store::Memory(Vec::new());
        Self { sizes, spill, store, at: 0, current: Vec::new(), first: Box::default(), blocks: Vec::new() }
    }

    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if self.current.is_empty() {
            self.first = key.into();
        }
        for part in [key, value] {
            let length = u32::try_from(part.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
            self.current.extend(length.to_le_bytes());
        }
        self.current.extend(key);
        self.current.extend(value);
        if self.current.len() >= self.sizes.block { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.current.is_empty() {
            return Ok(());
        }
        let length = self.current.len();
        if let Store::Memory(held) = &mut self.store
            && held.len() + length > self.sizes.memory
        {
            let file = (self.spill)()?;
            file.write_all_at(held, 0)?;
            self.store = Store::File(file);
        }
        match &mut self.store {
            Store::Memory(held) => held.extend(&self.current),
            Store::File(file) => file.write_all_at(&self.current, self.at)?,
        }
        self.current.clear();
        self.blocks.push(Block { first: std::mem::take(&mut self.first), at: self.at, length });
        self.at += length as u64;
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<Blocks> {
        self.flush()?;
        if let Store::Memory(held) = &mut self.store {
            held.shrink_to_fit();
        }
        self.blocks.shrink_to_fit();
        Ok(Blocks { store: self.store, index: self.blocks, last: Mutex::new((usize::MAX, Arc::default())) })
    }
}

impl Blocks {
    /// What is under a key.
    pub(super) fn find(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut cursor = self.seek(key)?;
        Ok((cursor.next()? && cursor.key() == key).then(|| cursor.value().to_vec()))
    }

    /// A cursor before the first pair whose key is not less.
    pub(super) fn seek(&self, key: &[u8]) -> io::Result<Cursor<'_>> {
        let block = self.index.partition_point(|block| *block.first <= *key).saturating_sub(1);
        let mut cursor = Cursor { blocks: self, block, data: Arc::default(), pair: Pair::default(), before: false };
        cursor.load()?;
        while cursor.next()? {
            if cursor.key() >= key {
                cursor.before = true;
                break;
            }
        }
        Ok(cursor)
    }

    fn read(&self, index: usize) -> io::Result<Arc<Vec<u8>>> {
        let Some(block) = self.index.get(index) else { return Ok(Arc::default()) };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 == index {
            return Ok(last.1.clone());
        }
        let data = match &self.store {
            Store::Memory(held) => {
                let start = usize::try_from(block.at).unwrap_or(usize::MAX);
                held.get(start..).and_then(|rest| rest.get(..block.length)).unwrap_or_default().to_vec()
            }
            Store::File(file) => {
                let mut data = vec![0; block.length];
                file.read_exact_at(&mut data, block.at)?;
                data
            }
        };
        let data = Arc::new(data);
        *last = (index, data.clone());
        Ok(data)
    }
}

/// Where a pair is in its block.
#[derive(Debug, Clone, Copy, Default)]
struct Pair {
    key: usize,
    value: usize,
    end: usize,
}

/// Goes from pair to pair.
pub(super) struct Cursor<'b> {
    blocks: &'b Blocks,
    block: usize,
    data: Arc<Vec<u8>>,
    pair: Pair,
    /// The pair is the next one.
    before: bool,
}

impl Cursor<'_> {
    fn load(&mut self) -> io::Result<()> {
        self.data = self.blocks.read(self.block)?;
        self.pair = Pair::default();
        Ok(())
    }

    /// Goes to the next pair, if there is one.
    pub(super) fn next(&mut self) -> io::Result<bool> {
        if std::mem::take(&mut self.before) {
            return Ok(true);
        }
        if self.pair.end >= self.data.len() {
            self.block += 1;
            if self.block >= self.blocks.index.len() {
                self.block = self.blocks.index.len();
                return Ok(false);
            }
            self.load()?;
        }
        let at = self.pair.end;
        let number = |at: usize| {
            let bytes = self.data.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map(|bytes| u32::from_le_bytes(bytes) as usize)
        };
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the index of a context is damaged");
        let (key, value) = number(at).zip(number(at + 4)).ok_or_else(damaged)?;
        let pair = Pair { key: at + 8, value: at + 8 + key, end: at + 8 + key + value };
        if pair.end > self.data.len() {
            return Err(damaged());
        }
        self.pair = pair;
        Ok(true)
    }

    /// The key of the pair that [`Cursor::next`] went to.
    pub(super) fn key(&self) -> &[u8] {
        &self.data[self.pair.key..self.pair.value]
    }

    /// Its value.
    pub(super) fn value(&self) -> &[u8] {
        &self.data[self.pair.value..self.pair.end]
    }
}

/// Several sorted sequences as one. What has the same key comes in the order of the sequences.
pub(super) struct Merged<'b> {
    cursors: Vec<Cursor<'b>>,
    /// The next key of each, and whose it is.
    heap: BinaryHeap<Reverse<(Vec<u8>, usize)>>,
}

impl<'b> Merged<'b> {
    pub(super) fn new(all: &'b [Blocks]) -> io::Result<Self> {
        let mut merged = Self { cursors: Vec::new(), heap: BinaryHeap::new() };
        for (index, blocks) in all.iter().enumerate() {
            merged.cursors.push(blocks.seek(b"")?);
            merged.advance(index)?;
        }
        Ok(merged)
    }

    fn advance(&mut self, index: usize) -> io::Result<()> {
        let cursor = &mut self.cursors[index];
        if cursor.next()? {
            self.heap.push(Reverse((cursor.key().to_vec(), index)));
        }
        Ok(())
    }

    /// The next pair.
    pub(super) fn next(&mut self) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
        let Some(Reverse((key, index))) = self.heap.pop() else { return Ok(None) };
        let value = self.cursors[index].value().to_vec();
        self.advance(index)?;
        Ok(Some((key, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spill() -> Spill {
        Arc::new(tempfile::tempfile)
    }

    fn blocks(sizes: Sizes, keys: impl Iterator<Item = u32>) -> Blocks {
        let mut writer = Writer::new(sizes, spill());
        for key in keys {
            writer.push(&key.to_be_bytes(), &vec![key as u8; key as usize % 50]).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn found_again_wherever_they_are() {
        for sizes in [Sizes::default(), Sizes { block: 64, memory: 0 }, Sizes { block: 1, memory: 200 }] {
            let all = blocks(sizes, (0..500).map(|n| n * 2));
            for n in 0..1000u32 {
                let found = all.find(&n.to_be_bytes()).unwrap();
                assert_eq!(found.map(|value| value.len()), (n % 2 == 0).then_some(n as usize % 50), "{n} {sizes:?}");
                let mut cursor = all.seek(&n.to_be_bytes()).unwrap();
                assert_eq!(cursor.next().unwrap(), n < 999);
                assert!(n == 999 || cursor.key() == (n.div_ceil(2) * 2).to_be_bytes());
            }
            assert!(!blocks(sizes, 0..0).seek(b"x").unwrap().next().unwrap());
        }
    }

    #[test]
    fn sequences_become_one() {
        let sizes = Sizes { block: 32, memory: 100 };
        let all = [blocks(sizes, (0..100).map(|n| n * 3)), blocks(sizes, (0..100).map(|n| n * 2)), blocks(sizes, 0..0)];
        let mut merged = Merged::new(&all).unwrap();
        let mut keys = Vec::new();
        while let Some((key, _)) = merged.next().unwrap() {
            keys.push(u32::from_be_bytes(key.try_into().unwrap()));
        }
        assert!(keys.is_sorted() && keys.len() == 200);
    }
}
