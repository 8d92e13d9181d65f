//! The missing bytes of a layer, over one connection or several.
//!
//! Large layers come in pieces, the next piece to whichever connection is free. Cutting the layer into as many parts as
//! there are connections would be simpler, but unpacking follows the first missing byte: it would get a quarter of the
//! bytes while all of them arrive, and do the rest alone.

use super::fetch::{Held, Job};
use super::writer::{Batch, Gone, Writer};
use futures_util::future::try_join_all;
use gantry_image_store::IncomingLayer;
use gantry_model::Error;
use gantry_registry_client::{self as registry, BlobBody};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// From so many missing bytes on, more than one connection is used.
const LARGE: u64 = 16 << 20;
/// What a connection fetches at a time then.
const PIECE: u64 = 8 << 20;
/// Connections for a layer, at most.
const CONNECTIONS: usize = 3;
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

/// One attempt to fetch all that is missing. What arrived is written when this returns.
pub(super) async fn fetch_missing(job: &Job, incoming: &Arc<IncomingLayer>, held: &Arc<Held>) -> Result<(), Failure> {
    let missing = incoming.missing();
    if missing.is_empty() {
        return Ok(());
    }
    let transfer = Transfer { job, writer: Writer::start(job, incoming, held) };
    let fetched = transfer.fetch(missing).await;
    // Where writing failed, that is the reason for everything else.
    transfer.writer.finish().await.map_err(Failure::Store)?;
    fetched
}

impl From<registry::Error> for Failure {
    fn from(e: registry::Error) -> Self {
        Self::Registry(e)
    }
}

/// [`fetch_missing`] says why.
impl From<Gone> for Failure {
    fn from(_: Gone) -> Self {
        Self::Store(Error::internal("the layer could not be written"))
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
    writer: Writer,
}

impl Transfer<'_> {
    async fn fetch(&self, missing: Vec<Range<u64>>) -> Result<(), Failure> {
        let bytes: u64 = missing.iter().map(|range| range.end - range.start).sum();
        if bytes >= LARGE {
            return self.pieces(missing).await;
        }
        for range in missing {
            if self.range(range).await?.is_whole() {
                break;
            }
        }
        Ok(())
    }

    /// Lets connections take pieces until there are none.
    async fn pieces(&self, missing: Vec<Range<u64>>) -> Result<(), Failure> {
        let mut pieces: VecDeque<_> = missing.into_iter().flat_map(cut).collect();
        // The first piece shows whether there are ranges at all.
        let Some(piece) = pieces.pop_front() else { return Ok(()) };
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
                        self.writer.take(&mut batch).await?;
                    }
                }
                Ok(None) => {
                    self.writer.take(&mut batch).await?;
                    return if batch.end() == range.end {
                        Ok(())
                    } else {
                        Err(Failure::Lost(Error::unavailable(TRUNCATED)))
                    };
                }
                Err(e) => {
                    self.writer.take(&mut batch).await?;
                    return Err(e);
                }
            }
        }
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
