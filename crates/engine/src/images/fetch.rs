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

/// Pieces that wait for the import.
pub(crate) const PIECES: usize = 8;
/// A server from which nothing comes for so long is given up.
const STALLED: Duration = Duration::from_secs(60);

/// What travels from the connection to whoever reads blockingly.
pub(crate) type Piece = Result<Option<Bytes>, String>;

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
    let (queue, pieces) = mpsc::channel(PIECES);
    let meter = Meter::new("", reporter);
    let mut reader =
        Fetched { pieces, current: Bytes::new(), ended: false, read: 0, total: body.total.unwrap_or(0), meter };
    let imported = blocking(move || Images { engine: &engine }.import_from(&url, &mut reader, import));
    // An import that fails lets go of the queue, and so ends the download.
    let ((), imported) = tokio::join!(feed(body, queue), imported);
    reporter.tell(lines::message(imported?));
    Ok(())
}

/// Hands over what arrives, until its end or the reader's.
pub(crate) async fn feed(mut body: BlobBody, queue: mpsc::Sender<Piece>) {
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

/// What arrives, for the importing thread.
struct Fetched {
    pieces: mpsc::Receiver<Piece>,
    current: Bytes,
    ended: bool,
    read: u64,
    total: u64,
    meter: Meter,
}

impl Read for Fetched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Ok(Some(bytes))) => self.current = bytes,
                Some(Ok(None)) => self.ended = true,
                Some(Err(e)) => return Err(io::Error::other(e)),
                None => return Err(io::Error::other("the import was cancelled")),
            }
        }
        let length = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        self.read += length as u64;
        if self.ended {
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
