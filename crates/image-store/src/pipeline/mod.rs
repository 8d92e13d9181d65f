//! A layer on its way in: receive, digest and keep the blob, inflate, digest the archive, extract.
//!
//! Each stage is a plain thread; bounded channels of shared, reused buffers join them. An uncompressed stream is
//! digested once, because its blob is its archive.

mod buffers;
mod stages;

use crate::{
    Compression,
    extract::{Extracted, Limits},
    tar::Archive,
};
use buffers::{Chunk, Pool, link};
use gantry_model::{Digest, Error, Result};
use stages::Stop;
use std::{fs::File, io::Read, path::Path, thread};

/// What became of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// Digest of the bytes as they came, where [`Keep`] asked for it.
    pub(crate) blob: Option<Digest>,
    /// How many came.
    pub(crate) blob_size: u64,
    pub(crate) compression: Compression,
    /// Digest of the archive.
    pub(crate) diff_id: Digest,
    /// `None` when nothing was to be extracted.
    pub(crate) extracted: Option<Extracted>,
}

/// What to do with a stream.
pub(crate) struct Plan<'a> {
    /// The digest of the bytes as they come, where it is known already.
    pub(crate) known: Option<&'a Digest>,
    /// What happens to the bytes as they came.
    pub(crate) keep: Keep<'a>,
    /// The empty directory to extract into.
    pub(crate) extract: Option<&'a Path>,
    pub(crate) limits: Limits,
}

/// What to do with the bytes of a stream before they are inflated.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Keep<'a> {
    /// Nothing.
    No,
    /// Digest them; they are somewhere already.
    Digest,
    /// Digest them and write them to this file.
    Write(&'a File),
}

/// Runs `body` through the stages. The first stage that failed on its own account tells why; the others only noticed.
pub(crate) fn run(body: &mut dyn Read, plan: &Plan<'_>, progress: &mut dyn FnMut(u64)) -> Result<Layer> {
    let Begun { body, pool, first } = Begun::new(body)?;
    let compression = Compression::detect(&first);
    thread::scope(|scope| {
        let (to_keeper, kept) = link();
        let (to_decoder, encoded) = link();
        let (to_extractor, archive) = link();
        let keeper = match plan.keep {
            Keep::No => None,
            Keep::Digest => Some(scope.spawn(move || stages::keep(kept, None))),
            Keep::Write(file) => Some(scope.spawn(move || stages::keep(kept, Some(file)))),
        };
        let plain = compression == Compression::None;
        // A plain stream that nobody else digests is digested by the decoding stage.
        let decode = !plain || (keeper.is_none() && plan.known.is_none());
        let (decoder, archive) = if decode {
            let pool = pool.clone();
            let limits = plan.limits;
            let wanted = plan.extract.is_some();
            // The outlet moves in, so that the next stage sees its end when this one stops.
            let stage = move || {
                let outlet = wanted.then_some(to_extractor);
                stages::decode(encoded, compression, &pool, outlet.as_ref(), limits)
            };
            (Some(scope.spawn(stage)), archive)
        } else {
            (None, encoded)
        };
        let limits = plan.limits;
        let extractor = plan.extract.map(|root| scope.spawn(move || stages::extract(archive, root, limits)));

        let mut outlets = Vec::new();
        if keeper.is_some() {
            outlets.push(to_keeper);
        }
        if decode || extractor.is_some() {
            outlets.push(to_decoder);
        }
        let received = stages::receive(body, first, &pool, outlets, None, progress);

        let kept = keeper.map(|thread| join(thread.join())).transpose();
        let decoded = decoder.map(|thread| join(thread.join())).transpose();
        let extracted = extractor.map(|thread| join(thread.join())).transpose();
        let (blob_size, kept, decoded, extracted) = settle(received, kept, decoded, extracted)?;
        let digested = decoded.or_else(|| kept.clone()).or_else(|| plan.known.cloned());
        let diff_id = digested.ok_or_else(|| Error::internal("nothing digested the layer"))?;
        Ok(Layer { blob: kept, blob_size, compression, diff_id, extracted })
    })
}

/// A stream whose beginning has been read, to decide what to do with it.
pub(crate) struct Begun<'b> {
    body: &'b mut dyn Read,
    pool: Pool,
    first: Chunk,
}

impl<'b> Begun<'b> {
    pub(crate) fn new(body: &'b mut dyn Read) -> Result<Self> {
        let pool = Pool::new();
        let first = stages::fill(&pool, body).map_err(|e| unreadable(&e))?;
        Ok(Self { body, pool, first })
    }

    pub(crate) fn compression(&self) -> Compression {
        Compression::detect(&self.first)
    }

    /// Whether an archive begins here that is not compressed.
    pub(crate) fn is_archive(&self) -> bool {
        matches!(Archive::new(&self.first[..]).next_entry(), Ok(Some(_)))
    }

    /// Digests the stream and keeps it in `file`, without looking into it.
    pub(crate) fn spool(self, file: Option<&File>) -> Result<(Digest, u64)> {
        let Self { body, pool, first } = self;
        if first.len() < buffers::BUFFER {
            // That is all of it, and no work for several threads.
            return stages::keep_one(&first, file).map(|digest| (digest, first.len() as u64));
        }
        thread::scope(|scope| {
            let (to_keeper, stream) = link();
            let keeper = scope.spawn(move || stages::keep(stream, file));
            let received = stages::receive(body, first, &pool, vec![to_keeper], None, &mut |_| ());
            let kept = join(keeper.join()).map(Some);
            let (size, digest, ..) = settle(received, kept, Ok(None), Ok(None))?;
            Ok((digest.ok_or_else(|| Error::internal("nothing digested the file"))?, size))
        })
    }

    /// Digests the stream and keeps it in `file`, and extracts it as an archive that is not compressed. Whether the
    /// latter succeeds does not matter to the former: nobody has said yet that it is a layer.
    pub(crate) fn attempt(
        self,
        file: &File,
        root: &Path,
        limits: Limits,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(Digest, u64, Result<Extracted>)> {
        let Self { body, pool, first } = self;
        thread::scope(|scope| {
            let (to_keeper, stream) = link();
            let (to_extractor, archive) = link();
            let keeper = scope.spawn(move || stages::keep(stream, Some(file)));
            let extractor = scope.spawn(move || stages::extract(archive, root, limits));
            let received = stages::receive(body, first, &pool, vec![to_keeper], Some(to_extractor), progress);
            let (kept, extracted) = (join(keeper.join()), join(extractor.join()));
            let (size, digest, ..) = settle(received, kept.map(Some), Ok(None), Ok(None))?;
            let digest = digest.ok_or_else(|| Error::internal("nothing digested the layer"))?;
            Ok((digest, size, extracted.map_err(Stop::into_error)))
        })
    }
}

/// Bytes received, digest of the blob, digest of the archive, and what was extracted.
type Settled = (u64, Option<Digest>, Option<Digest>, Option<Extracted>);
type Joined<T> = Result<Option<T>, Stop>;

/// Picks the failure to report: one that is a stage's own, in the order in which the data flows.
fn settle(
    received: Result<u64, Stop>,
    kept: Joined<Digest>,
    decoded: Joined<Digest>,
    extracted: Joined<Extracted>,
) -> Result<Settled> {
    match (received, kept, decoded, extracted) {
        (Ok(size), Ok(kept), Ok(decoded), Ok(extracted)) => Ok((size, kept, decoded, extracted)),
        (received, kept, decoded, extracted) => {
            let stops = [received.err(), decoded.err(), kept.err(), extracted.err()];
            let mut stops: Vec<Stop> = stops.into_iter().flatten().collect();
            let own = stops.iter().position(|stop| matches!(stop, Stop::Failed(_))).unwrap_or_default();
            Err(stops.swap_remove(own).into_error())
        }
    }
}

fn join<T>(result: thread::Result<Result<T, Stop>>) -> Result<T, Stop> {
    result.unwrap_or_else(|_| Err(Stop::Failed(Error::internal("a stage of the layer pipeline panicked"))))
}

/// The client's stream failed, not the disk.
fn unreadable(e: &std::io::Error) -> Error {
    Error::invalid(format!("cannot read the archive: {e}"))
}
