//! Compressing a layer for the way: by several threads, because a push waits for nothing else.

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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// zlib-rs at this level is three times as fast as at the usual 6, and the result is a few per cent larger: a push
/// waits for compression, not for the network, unless that is slow.
const LEVEL: u32 = 3;
const BUFFER: usize = 128 * 1024;
/// What a thread compresses at a time. Larger blocks compress hardly better.
const BLOCK: usize = 1 << 20;
const MOST_THREADS: usize = 4;

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
    let sent = members(&mut archive, &file, cancelled).context(format_args!("compressing layer {}", layer.diff_id))?;
    Ok(Gzipped { sent, file: Arc::new(file) })
}

/// A block on its way to a thread, and where the compressed one is waited for.
type Job = (Vec<u8>, SyncSender<io::Result<Vec<u8>>>);

/// Compresses block by block, each as a gzip member of its own: a file of several is one to every reader (RFC 1952,
/// section 2.2), and what comes out does not depend on how many threads there are.
fn members(archive: &mut dyn Read, file: &File, cancelled: &Cancelled) -> Result<Sent> {
    let threads = thread::available_parallelism().map_or(2, usize::from).min(MOST_THREADS);
    thread::scope(|scope| {
        let (jobs, taken) = sync_channel::<Job>(threads);
        let taken = Arc::new(Mutex::new(taken));
        for _ in 0..threads {
            let taken = Arc::clone(&taken);
            scope.spawn(move || work(&taken));
        }
        let (order, results) = sync_channel(2 * threads);
        let writer = scope.spawn(move || write(file, &results));
        let read = feed(archive, &jobs, &order, cancelled);
        drop((jobs, order));
        let written = writer.join().map_err(|_| Error::internal("the writing thread panicked"))?;
        read.and(written)
    })
}

/// Hands block after block out; the results are asked for in the same order.
fn feed(
    archive: &mut dyn Read,
    jobs: &SyncSender<Job>,
    order: &SyncSender<Receiver<io::Result<Vec<u8>>>>,
    cancelled: &Cancelled,
) -> Result<()> {
    for number in 0.. {
        if cancelled.0.load(Ordering::Relaxed) {
            return Err(Error::cancelled("the push was cancelled"));
        }
        let mut block = Vec::with_capacity(BLOCK);
        archive.take(BLOCK as u64).read_to_end(&mut block)?;
        // An empty archive is one empty member.
        if block.is_empty() && number > 0 {
            break;
        }
        let last = block.len() < BLOCK;
        let (tell, told) = sync_channel(1);
        // A writer that failed says why itself.
        if order.send(told).is_err() {
            break;
        }
        jobs.send((block, tell)).map_err(|_| Error::internal("the compressing threads went away"))?;
        if last {
            break;
        }
    }
    Ok(())
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((block, tell)) = job else { return };
        // Whoever waited for it may have failed meanwhile.
        let _ = tell.send(member(&block));
    }
}

fn member(block: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = GzEncoder::new(Vec::with_capacity(block.len() / 2), Level::new(LEVEL));
    out.write_all(block)?;
    out.finish()
}

fn write(mut file: &File, results: &Receiver<Receiver<io::Result<Vec<u8>>>>) -> Result<Sent> {
    let (mut hasher, mut size) = (Sha256::new(), 0);
    for result in results {
        let bytes = result.recv().map_err(|_| Error::internal("a compressing thread went away"))??;
        file.write_all(&bytes)?;
        hasher.update(&bytes);
        size += bytes.len() as u64;
    }
    Ok(Sent { digest: Digest::sha256(hasher.finalize().into()), size })
}

/// In the directory that is emptied at every start, for the moment in which the file has a name.
fn unnamed_file(directory: &Path) -> io::Result<File> {
    let path = directory.join(format!("push-{}", Id::random()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::MultiGzDecoder;
    use std::io::Seek;

    fn compressed(archive: &[u8]) -> (Vec<u8>, Sent) {
        let mut file = tempfile();
        let sent = members(&mut &archive[..], &file, &Cancelled::default()).unwrap();
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        (bytes, sent)
    }

    fn tempfile() -> File {
        unnamed_file(&std::env::temp_dir()).unwrap()
    }

    #[test]
    fn members_are_one_archive_and_always_the_same() {
        for length in [0, 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7] {
            let archive: Vec<u8> = (0..length as u32).map(|n| (n / 7) as u8).collect();
            let (bytes, sent) = compressed(&archive);
            let mut back = Vec::new();
            MultiGzDecoder::new(&bytes[..]).read_to_end(&mut back).unwrap();
            assert!(back == archive, "{length}");
            assert_eq!(sent.size, bytes.len() as u64);
            assert_eq!(sent.digest, Digest::sha256(Sha256::digest(&bytes).into()));
            assert!(compressed(&archive).0 == bytes);
        }
    }

    #[test]
    fn a_cancelled_push_stops() {
        let cancelled = Cancelled::default();
        drop(cancelled.clone().on_drop());
        assert!(members(&mut io::repeat(0), &tempfile(), &cancelled).is_err());
    }
}
