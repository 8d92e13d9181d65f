//! Shared buffers, and streams of them between threads.

use std::{
    io::{self, BufRead, Read},
    ops::Deref,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

/// Large enough that a write costs more than its system call, small enough for the second-level cache. Three layers that
/// are unpacked at once have some sixty of them.
pub(super) const BUFFER: usize = 128 << 10;
/// Buffers between two stages.
const QUEUE: usize = 8;

/// Buffers that are used again: a fresh one of this size costs a page fault every 4 KiB.
#[derive(Clone)]
pub(super) struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// A buffer of [`BUFFER`] bytes with any contents.
    pub(super) fn take(&self) -> Vec<u8> {
        let reused = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        reused.unwrap_or_else(|| vec![0; BUFFER])
    }

    /// Shares the first `length` bytes.
    pub(super) fn share(&self, bytes: Vec<u8>, length: usize) -> Chunk {
        Arc::new(Buffer { bytes, length, pool: self.clone() })
    }
}

/// Bytes that several stages read at once.
pub(super) type Chunk = Arc<Buffer>;

pub(super) struct Buffer {
    bytes: Vec<u8>,
    length: usize,
    pool: Pool,
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.pool.0.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

/// `None` says that the stream is complete; a channel that closes without it was abandoned.
type Message = Option<Chunk>;

pub(super) type Outlet = SyncSender<Message>;

/// A channel between two stages.
pub(super) fn link() -> (Outlet, Stream) {
    let (outlet, inlet) = sync_channel(QUEUE);
    (outlet, Stream { inlet, current: None, at: 0, ended: false, consumed: Arc::default() })
}

/// The reading end.
pub(super) struct Stream {
    inlet: Receiver<Message>,
    current: Option<Chunk>,
    at: usize,
    ended: bool,
    consumed: Arc<AtomicU64>,
}

/// The stage before has given up; it knows why.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the stream was abandoned")]
pub(super) struct Abandoned;

impl Stream {
    /// The next whole chunk; `None` at the end.
    pub(super) fn next_chunk(&mut self) -> Result<Option<Chunk>, Abandoned> {
        if self.ended {
            return Ok(None);
        }
        let message = self.inlet.recv().map_err(|_| Abandoned)?;
        self.ended = message.is_none();
        Ok(message)
    }

    /// Counts bytes as they are consumed, for a reader that has been handed away.
    pub(super) fn counter(&self) -> Arc<AtomicU64> {
        self.consumed.clone()
    }
}

impl BufRead for Stream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.as_ref().is_none_or(|chunk| self.at >= chunk.len()) {
            self.current = None;
            self.at = 0;
            match self.next_chunk().map_err(io::Error::other)? {
                Some(chunk) => self.current = Some(chunk),
                None => return Ok(&[]),
            }
        }
        Ok(self.current.as_ref().map_or(&[], |chunk| &chunk[self.at..]))
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
        self.consumed.fetch_add(amount as u64, Ordering::Relaxed);
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}
