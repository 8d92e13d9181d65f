//! The missing bytes of a layer, over one connection or several.
//!
//! Large layers come in pieces, the next piece to whichever connection is free. Cutting the layer into as many parts as
//! there are connections would be simpler, but unpacking follows the first missing byte: it would get a quarter of the
//! bytes while all of them arrive, and do the rest alone.

use super::fetch::Job;
use bytes::Bytes;
use futures_util::future::try_join_all;
use gantry_image_store::IncomingLayer;
use gantry_model::Error;
use gantry_registry_client::{self as registry, BlobBody};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// From so many missing bytes on, more than one connection is used.
const LARGE: u64 = 16 << 20;
/// What a connection fetches at a time then.
const PIECE: u64 = 8 << 20;
/// Connections for a layer, at most.
const CONNECTIONS: usize = 3;
/// Bytes that are collected before they are written, and so what a connection holds in memory.
const BATCH: usize = 256 * 1024;
/// How long bytes wait to be written.
const DELAY: Duration = Duration::from_millis(100);
/// A connection on which nothing comes for so long is given up.
const STALLED: Duration = Duration::from_secs(60);

const TRUNCATED: &str = "the registry sent less of a layer than was asked for";

/// Why an attempt ended.
pub(super) enum Failure {
    /// The registry, or the way to it.
    Registry(registry::Error),
    /// The connection, while bytes came.
    Lost(Error),
    /// The disk, or bytes that cannot be the layer's.
    Store(Error),
}

/// One attempt to fetch all that is missing.
pub(super) async fn fetch_missing(job: &Job, incoming: &IncomingLayer) -> Result<(), Failure> {
    let missing = incoming.missing();
    let Some(first) = missing.first().cloned() else { return Ok(()) };
    let bytes: u64 = missing.iter().map(|range| range.end - range.start).sum();
    let transfer = Transfer { job, incoming };
    if bytes < LARGE {
        for range in missing {
            if transfer.range(range).await?.is_whole() {
                return Ok(());
            }
        }
        return Ok(());
    }
    transfer.pieces(first, missing).await
}

impl From<registry::Error> for Failure {
    fn from(e: registry::Error) -> Self {
        Self::Registry(e)
    }
}

/// What an answer covered.
#[derive(PartialEq)]
enum Covered {
    Range,
    /// The registry knows no ranges and sent everything.
    Whole,
}

impl Covered {
    fn is_whole(&self) -> bool {
        *self == Self::Whole
    }
}

struct Transfer<'a> {
    job: &'a Job,
    incoming: &'a IncomingLayer,
}

impl Transfer<'_> {
    /// Lets connections take pieces until there are none.
    async fn pieces(&self, first: Range<u64>, missing: Vec<Range<u64>>) -> Result<(), Failure> {
        let mut pieces: VecDeque<_> = missing.into_iter().flat_map(cut).collect();
        // The first piece shows whether there are ranges at all.
        let piece = pieces.pop_front().unwrap_or(first);
        let body = self.open(piece.clone()).await?;
        if !body.ranged {
            return self.receive(body, 0..self.job.wanted.size).await;
        }
        let pieces = Mutex::new(pieces);
        let mut connections = vec![self.connection(Some((body, piece)), &pieces)];
        let mut turns = Vec::new();
        while connections.len() < CONNECTIONS
            && let Ok(turn) = self.job.limits.extra.try_acquire()
        {
            turns.push(turn);
            connections.push(self.connection(None, &pieces));
        }
        try_join_all(connections).await.map(drop)
    }

    async fn connection(
        &self,
        begun: Option<(BlobBody, Range<u64>)>,
        pieces: &Mutex<VecDeque<Range<u64>>>,
    ) -> Result<(), Failure> {
        if let Some((body, piece)) = begun {
            self.receive(body, piece).await?;
        }
        loop {
            let piece = pieces.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(piece) = piece else { return Ok(()) };
            let body = self.open(piece.clone()).await?;
            if !body.ranged {
                // It knew ranges a moment ago.
                let why = "the registry sent a whole layer where a part of it was asked for";
                return Err(registry::Error::Protocol(why.to_owned()).into());
            }
            self.receive(body, piece).await?;
        }
    }

    async fn range(&self, range: Range<u64>) -> Result<Covered, Failure> {
        let body = self.open(range.clone()).await?;
        if body.ranged || range == (0..self.job.wanted.size) {
            self.receive(body, range).await?;
            return Ok(Covered::Range);
        }
        self.receive(body, 0..self.job.wanted.size).await?;
        Ok(Covered::Whole)
    }

    /// Asks for a range; for one that is the whole layer in the way that every registry understands.
    async fn open(&self, range: Range<u64>) -> Result<BlobBody, Failure> {
        let wanted = &self.job.wanted;
        let to = Some(range.end).filter(|&end| end < wanted.size);
        let body = self.job.source.open(wanted, range.start, to).await?;
        if let Some(total) = body.total.filter(|&total| total != wanted.size) {
            let (digest, size) = (&wanted.blob, wanted.size);
            let why = format!("layer {digest} has {total} bytes and not the {size} that the manifest promises");
            return Err(Failure::Store(Error::internal(why)));
        }
        Ok(body)
    }

    /// Writes what comes of `range`.
    async fn receive(&self, mut body: BlobBody, range: Range<u64>) -> Result<(), Failure> {
        if body.start != range.start {
            let why =
                format!("the registry sent bytes from {} where bytes from {} were asked for", body.start, range.start);
            return Err(registry::Error::Protocol(why).into());
        }
        let mut batch = Batch::new(range.start);
        loop {
            let next = match tokio::time::timeout(STALLED, body.next()).await {
                Ok(next) => next.map_err(Failure::Registry),
                Err(_) => Err(Failure::Lost(Error::unavailable(format!("nothing arrived for {STALLED:?}")))),
            };
            match next {
                Ok(Some(bytes)) => {
                    if bytes.len() as u64 > range.end - batch.end() {
                        let why = "the registry sent more of a layer than was asked for";
                        return Err(registry::Error::Protocol(why.to_owned()).into());
                    }
                    batch.add(bytes);
                    if batch.is_due() {
                        self.write(&mut batch)?;
                    }
                }
                Ok(None) => {
                    self.write(&mut batch)?;
                    return if batch.at == range.end {
                        Ok(())
                    } else {
                        Err(Failure::Lost(Error::unavailable(TRUNCATED)))
                    };
                }
                Err(e) => {
                    self.write(&mut batch)?;
                    return Err(e);
                }
            }
        }
    }

    /// The page cache takes the bytes at once, or makes the writer wait when the disk is behind; other tasks of this
    /// thread must not.
    fn write(&self, batch: &mut Batch) -> Result<(), Failure> {
        if batch.pieces.is_empty() {
            return Ok(());
        }
        let written = tokio::task::block_in_place(|| {
            batch.pieces.iter().try_fold(batch.at, |at, piece| {
                self.incoming.write(at, piece)?;
                Ok(at + piece.len() as u64)
            })
        });
        *batch = Batch::new(written.map_err(Failure::Store)?);
        let received = self.incoming.received();
        self.job.tell.send_modify(|snapshot| snapshot.received = received);
        Ok(())
    }
}

/// Bytes that arrived and are not written yet.
struct Batch {
    at: u64,
    pieces: Vec<Bytes>,
    length: usize,
    since: Instant,
}

impl Batch {
    fn new(at: u64) -> Self {
        Self { at, pieces: Vec::new(), length: 0, since: Instant::now() }
    }

    fn end(&self) -> u64 {
        self.at + self.length as u64
    }

    fn add(&mut self, bytes: Bytes) {
        self.length += bytes.len();
        self.pieces.push(bytes);
    }

    fn is_due(&self) -> bool {
        self.length >= BATCH || self.since.elapsed() >= DELAY
    }
}

/// Cuts a range at multiples of the size of a piece.
fn cut(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        (at < range.end).then(|| {
            let end = (at / PIECE + 1).saturating_mul(PIECE).min(range.end);
            std::mem::replace(&mut at, end)..end
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_a_range() {
        let pieces = |range| cut(range).map(|piece| (piece.start, piece.end)).collect::<Vec<_>>();
        assert_eq!(pieces(0..PIECE + 1), [(0, PIECE), (PIECE, PIECE + 1)]);
        assert_eq!(pieces(5..PIECE), [(5, PIECE)]);
        assert_eq!(pieces(7..7), []);
        assert_eq!(pieces(u64::MAX - 1..u64::MAX), [(u64::MAX - 1, u64::MAX)]);
    }
}
