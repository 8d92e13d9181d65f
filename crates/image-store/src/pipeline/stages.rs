//! What each thread of the pipeline does.

use super::{
    buffers::{Abandoned, BUFFER, Chunk, Outlet, Pool, Stream},
    unreadable,
};
use crate::{
    Compression,
    extract::{self, ExtractError, Extracted, Limits},
    tar::{Archive, TarError},
};
use gantry_model::{Digest, Error};
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, BufRead, Read, Write},
    path::Path,
    sync::atomic::Ordering,
};

/// Why a stage ended early.
pub(super) enum Stop {
    /// For a reason of its own.
    Failed(Error),
    /// Because the stage before or behind it did.
    NeighbourGone,
}

impl Stop {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Failed(e) => e,
            Self::NeighbourGone => Error::internal("a stage of the layer pipeline went away"),
        }
    }
}

impl From<Error> for Stop {
    fn from(e: Error) -> Self {
        Self::Failed(e)
    }
}

impl From<Abandoned> for Stop {
    fn from(_: Abandoned) -> Self {
        Self::NeighbourGone
    }
}

/// Reads a whole buffer, or less only at the end. Bodies arrive in small pieces; the stages work on large ones.
pub(super) fn fill(pool: &Pool, body: &mut dyn Read) -> io::Result<Chunk> {
    let mut bytes = pool.take();
    let mut length = 0;
    while length < BUFFER {
        match body.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(pool.share(bytes, length))
}

/// Takes the body in and hands it to every outlet; returns its length. The optional one may close before the end.
pub(super) fn receive(
    body: &mut dyn Read,
    first: Chunk,
    pool: &Pool,
    outlets: Vec<Outlet>,
    mut optional: Option<Outlet>,
    progress: &mut dyn FnMut(u64),
) -> Result<u64, Stop> {
    let mut received = 0;
    let mut chunk = first;
    while !chunk.is_empty() {
        received += chunk.len() as u64;
        progress(received);
        for outlet in &outlets {
            outlet.send(Some(chunk.clone())).map_err(|_| Stop::NeighbourGone)?;
        }
        optional = optional.filter(|outlet| outlet.send(Some(chunk.clone())).is_ok());
        chunk = fill(pool, body).map_err(|e| Stop::Failed(unreadable(&e)))?;
    }
    for outlet in outlets {
        outlet.send(None).map_err(|_| Stop::NeighbourGone)?;
    }
    if let Some(outlet) = optional {
        // It knows itself why it ended early.
        let _ = outlet.send(None);
    }
    Ok(received)
}

/// The same as [`keep`] for a stream of one chunk.
pub(super) fn keep_one(chunk: &[u8], file: Option<&File>) -> Result<Digest, Error> {
    if let Some(mut file) = file {
        file.write_all(chunk).map_err(|e| Error::from(e).context("cannot store the archive"))?;
    }
    Ok(Digest::sha256(Sha256::digest(chunk).into()))
}

/// Digests and writes the bytes as they came.
pub(super) fn keep(mut stream: Stream, file: Option<&File>) -> Result<Digest, Stop> {
    let mut hasher = Sha256::new();
    while let Some(chunk) = stream.next_chunk()? {
        hasher.update(&chunk[..]);
        if let Some(mut file) = file {
            file.write_all(&chunk).map_err(|e| Error::from(e).context("cannot store the archive"))?;
        }
    }
    Ok(Digest::sha256(hasher.finalize().into()))
}

/// Inflates and digests the archive.
pub(super) fn decode(
    stream: Stream,
    compression: Compression,
    pool: &Pool,
    outlet: Option<&Outlet>,
    limits: Limits,
) -> Result<Digest, Stop> {
    let mut hasher = Sha256::new();
    let consumed = stream.counter();
    let mut decoder = compression.decoder(stream).map_err(Error::from)?;
    let mut produced = 0u64;
    loop {
        let chunk = fill(pool, &mut decoder).map_err(undecodable)?;
        if chunk.is_empty() {
            break;
        }
        produced += chunk.len() as u64;
        let ratio = produced / consumed.load(Ordering::Relaxed).max(1);
        if produced > limits.ratio_from && ratio > limits.ratio {
            return Err(Error::from(ExtractError::Limit("compression ratio")).into());
        }
        hasher.update(&chunk[..]);
        if let Some(outlet) = outlet {
            outlet.send(Some(chunk)).map_err(|_| Stop::NeighbourGone)?;
        }
    }
    if let Some(outlet) = outlet {
        outlet.send(None).map_err(|_| Stop::NeighbourGone)?;
    }
    Ok(Digest::sha256(hasher.finalize().into()))
}

fn undecodable(e: io::Error) -> Stop {
    if is_abandoned(&e) {
        return Stop::NeighbourGone;
    }
    Stop::Failed(Error::invalid(format!("cannot decompress the archive: {e}")).with_source(e))
}

/// Extracts the archive and reads what follows its end mark, which belongs to the digest.
pub(super) fn extract(stream: Stream, root: &Path, limits: Limits) -> Result<Extracted, Stop> {
    let mut archive = Archive::new(stream);
    let extracted = extract::extract(&mut archive, root, limits).map_err(|e| match e {
        ExtractError::Archive(TarError::Io(io)) if is_abandoned(&io) => Stop::NeighbourGone,
        e => Stop::Failed(e.into()),
    })?;
    let mut rest = archive.into_inner();
    loop {
        match rest.fill_buf().map(<[u8]>::len) {
            Ok(0) => return Ok(extracted),
            Ok(length) => rest.consume(length),
            Err(_) => return Err(Stop::NeighbourGone),
        }
    }
}

fn is_abandoned(e: &io::Error) -> bool {
    e.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Abandoned>)
}
