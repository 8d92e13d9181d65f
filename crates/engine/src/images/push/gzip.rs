//! Compressing a layer for the way.

use super::blob::Content;
use super::layers::Sent;
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use gantry_image_store::{ImageStore, Layer};
use gantry_model::{Digest, Error, Id, Result, error::Context};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// zlib-rs at this level is three times as fast as at the usual 6, and the result is a few per cent larger: a push
/// waits for compression, not for the network, unless that is slow.
const LEVEL: u32 = 3;
const BUFFER: usize = 128 * 1024;

/// A compressed layer, in a file that has no name any more.
pub(super) struct Gzipped {
    pub(super) sent: Sent,
    file: Arc<File>,
}

impl Gzipped {
    pub(super) fn content(&self) -> Content {
        Content::File(self.file.clone())
    }
}

/// Tells a thread that nobody waits for it any more.
#[derive(Debug, Clone, Default)]
pub(super) struct Cancelled(Arc<AtomicBool>);

/// Cancels when it is dropped.
pub(super) struct OnDrop(Cancelled);

impl Cancelled {
    pub(super) fn on_drop(self) -> OnDrop {
        OnDrop(self)
    }
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// Compresses a layer into a file below `directory`. The same layer always gives the same bytes, so that a later push
/// can recognise it at the registry.
pub(super) fn gzip(store: &ImageStore, layer: &Layer, directory: &Path, cancelled: &Cancelled) -> Result<Gzipped> {
    let blob = store.open_blob(&layer.blob)?;
    let blob = blob.ok_or_else(|| Error::internal(format!("blob {} is missing or damaged", layer.blob)))?;
    let mut archive = layer.compression.decoder(BufReader::with_capacity(BUFFER, blob))?;
    let file = unnamed_file(&directory.join("trash")).context("compressing a layer")?;
    let mut out = GzEncoder::new(Digesting { file: &file, hasher: Sha256::new(), size: 0 }, Level::new(LEVEL));
    let mut buffer = vec![0; BUFFER];
    loop {
        if cancelled.0.load(Ordering::Relaxed) {
            return Err(Error::cancelled("the push was cancelled"));
        }
        match archive.read(&mut buffer).context(format_args!("layer {}", layer.diff_id))? {
            0 => break,
            length => out.write_all(&buffer[..length]).context("compressing a layer")?,
        }
    }
    let Digesting { hasher, size, .. } = out.finish().context("compressing a layer")?;
    let sent = Sent { digest: Digest::sha256(hasher.finalize().into()), size };
    Ok(Gzipped { sent, file: Arc::new(file) })
}

/// In the directory that is emptied at every start, for the moment in which the file has a name.
fn unnamed_file(directory: &Path) -> io::Result<File> {
    let path = directory.join(format!("push-{}", Id::random()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// Writes to a file and digests what it writes.
struct Digesting<'f> {
    file: &'f File,
    hasher: Sha256,
    size: u64,
}

impl Write for Digesting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = (&mut &*self.file).write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
