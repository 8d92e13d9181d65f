//! The thread that writes what several connections bring of a layer.
//!
//! The page cache takes bytes at once, or makes the writer wait when the disk is behind, which must not hold up the few
//! threads that all connections share. Leaving those to others for each write (`block_in_place`) instead of having one
//! thread for it costs dozens of threads, and the memory that each keeps.

use super::fetch::{Held, Job};
use super::stage::Snapshot;
use bytes::Bytes;
use gantry_image_store::IncomingLayer;
use gantry_model::{Error, Result};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Bytes that are collected before they are written.
const BATCH: usize = 128 * 1024;
/// Batches that wait.
const BATCHES: usize = 2;
/// How long bytes wait to be written.
const DELAY: Duration = Duration::from_millis(100);

/// Where connections bring their bytes.
pub(super) struct Writer {
    queue: mpsc::Sender<Batch>,
    thread: JoinHandle<Result<()>>,
}

/// The thread has ended and says why when it is asked.
pub(super) struct Gone;

/// Bytes that arrived and are not written yet.
pub(super) struct Batch {
    at: u64,
    pieces: Vec<Bytes>,
    length: usize,
    since: Instant,
}

impl Writer {
    pub(super) fn start(job: &Job, incoming: &Arc<IncomingLayer>, held: &Arc<Held>) -> Self {
        let (queue, batches) = mpsc::channel(BATCHES);
        let (incoming, held, tell) = (incoming.clone(), held.clone(), job.tell.clone());
        let thread = tokio::task::spawn_blocking(move || {
            let written = write_all(batches, &incoming, &tell);
            // In this order: whoever waits for the gate opens the blob again.
            drop(incoming);
            drop(held);
            written
        });
        Self { queue, thread }
    }

    /// Hands a batch over and begins the next.
    pub(super) async fn take(&self, batch: &mut Batch) -> Result<(), Gone> {
        if batch.pieces.is_empty() {
            return Ok(());
        }
        let next = Batch::new(batch.end());
        self.queue.send(std::mem::replace(batch, next)).await.map_err(|_| Gone)
    }

    /// Waits until everything is written.
    pub(super) async fn finish(self) -> Result<()> {
        drop(self.queue);
        self.thread.await.unwrap_or_else(|e| Err(Error::internal(format!("writing a layer broke off: {e}"))))
    }
}

fn write_all(
    mut batches: mpsc::Receiver<Batch>,
    incoming: &IncomingLayer,
    tell: &watch::Sender<Snapshot>,
) -> Result<()> {
    while let Some(batch) = batches.blocking_recv() {
        let mut at = batch.at;
        for piece in batch.pieces {
            incoming.write(at, &piece)?;
            at += piece.len() as u64;
        }
        let received = incoming.received();
        tell.send_modify(|snapshot| snapshot.received = received);
    }
    Ok(())
}

impl Batch {
    pub(super) fn new(at: u64) -> Self {
        Self { at, pieces: Vec::new(), length: 0, since: Instant::now() }
    }

    /// Where the next bytes belong.
    pub(super) fn end(&self) -> u64 {
        self.at + self.length as u64
    }

    pub(super) fn add(&mut self, bytes: Bytes) {
        self.length += bytes.len();
        self.pieces.push(bytes);
    }

    pub(super) fn is_due(&self) -> bool {
        self.length >= BATCH || self.since.elapsed() >= DELAY
    }
}
