//! `POST /images/create?fromSrc=<URL>`: an import of an archive that the engine fetches.

use super::lines::{self, Meter};
use super::{ImageImport, Images};
use crate::operation::{Operation, Reporter};
use crate::{Engine, blocking};
use bytes::{Buf, Bytes};
use gantry_model::{Error, ErrorKind, Result};
use gantry_registry_client::{self as registry, BlobBody};
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Pieces that wait for their reader.
const PIECES: usize = 8;
/// A server from which nothing comes for so long is given up.
const STALLED: Duration = Duration::from_secs(60);

/// What travels from the connection to whoever reads blockingly.
type Piece = Result<Option<Bytes>, String>;

impl Engine {
    /// Begins to import what is at a URL; one without a scheme means http.
    pub fn image_import_from(&self, source: &str, import: ImageImport) -> Operation {
        let url = if source.contains("://") { source.to_owned() } else { format!("http://{source}") };
        let engine = self.arc();
        Operation::start(|reporter| async move { fetch(engine, url, import, &reporter).await })
    }
}

async fn fetch(engine: Arc<Engine>, url: String, import: ImageImport, reporter: &Reporter) -> Result<()> {
    let body = engine.registry.file(&url).await.map_err(|e| failed(&url, e))?;
    reporter.tell(lines::message(format!("Downloading from {url}")));
    let (meter, total) = (Meter::new("", reporter), body.total.unwrap_or(0));
    let imported = read_with(body, "import", move |fetched| {
        let mut reader = Metered { fetched, read: 0, total, meter };
        Images { engine: &engine }.import_from(&url, &mut reader, import)
    });
    let imported = imported.await;
    reporter.tell(lines::message(imported?));
    Ok(())
}

/// Lets `work`, which is part of `whole`, read blockingly what arrives.
pub(crate) async fn read_with<T: Send + 'static>(
    body: BlobBody,
    whole: &'static str,
    work: impl FnOnce(Fetched) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (queue, pieces) = mpsc::channel(PIECES);
    let reader = Fetched { pieces, current: Bytes::new(), ended: false, whole };
    let done = blocking(move || work(reader));
    // Work that fails lets go of the queue, and so ends the download.
    let ((), done) = tokio::join!(feed(body, queue), done);
    done
}

/// Hands over what arrives, until its end or the reader's.
async fn feed(mut body: BlobBody, queue: mpsc::Sender<Piece>) {
    loop {
        let piece = match tokio::time::timeout(STALLED, body.next()).await {
            Ok(next) => next.map_err(|e| e.to_string()),
            Err(_) => Err(format!("nothing arrived for {STALLED:?}")),
        };
        let last = !matches!(piece, Ok(Some(_)));
        if queue.send(piece).await.is_err() || last {
            return;
        }
    }
}

/// What arrives, for a thread.
pub(crate) struct Fetched {
    pieces: mpsc::Receiver<Piece>,
    current: Bytes,
    ended: bool,
    whole: &'static str,
}

impl Read for Fetched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Ok(Some(bytes))) => self.current = bytes,
                Some(Ok(None)) => self.ended = true,
                Some(Err(e)) => return Err(io::Error::other(e)),
                None => return Err(io::Error::other(format!("the {} was cancelled", self.whole))),
            }
        }
        let length = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// The same, with the client told how far it is.
struct Metered {
    fetched: Fetched,
    read: u64,
    total: u64,
    meter: Meter,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fetched.read(buffer)?;
        self.read += length as u64;
        if self.fetched.ended {
            self.meter.restart();
        }
        self.meter.tell("Importing", self.read, self.total.max(self.read));
        Ok(length)
    }
}

/// Docker passes some of the server's statuses on.
pub(crate) fn failed(url: &str, error: registry::Error) -> Error {
    let Some(status) = error.status().filter(|status| (400..500).contains(status)) else { return error.into() };
    let kind = match status {
        400 => ErrorKind::InvalidArgument,
        401 => ErrorKind::Unauthorized,
        403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, format!("failed to GET {url} with status {status}: {error}")).with_source(error)
}
