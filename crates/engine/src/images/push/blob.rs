//! One blob's way to the registry: it is there, it is elsewhere in the same registry, or it has to be sent.

use super::Push;
use crate::images::lines::Meter;
use crate::transfer::Attempts;
use bytes::Bytes;
use futures_util::{Stream, stream};
use gantry_image_store::ImageStore;
use gantry_model::{Digest, Error, Result};
use gantry_registry_client::{self as registry, Mount, UploadSession};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Repositories of the same registry that are asked for a blob.
const MOUNTS: usize = 3;
/// Bytes that are read at a time, and pieces that wait for the network: what an upload holds in memory.
const PIECE: usize = 128 * 1024;
const PIECES: usize = 4;

/// How a blob came to be at the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Arrived {
    Existed,
    Mounted(String),
    Sent,
}

impl Arrived {
    pub(super) fn status(&self) -> String {
        match self {
            Self::Existed => "Layer already exists".to_owned(),
            Self::Mounted(from) => format!("Mounted from {from}"),
            Self::Sent => "Pushed".to_owned(),
        }
    }
}

/// Where the bytes are.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// In the store, which checks them on the way.
    Blob(ImageStore, Digest),
    File(Arc<File>),
}

/// What to do next with a blob that the registry does not have.
enum Next {
    Done(Arrived),
    Upload(Option<UploadSession>),
}

impl Push {
    /// Sees to it that the registry has a blob of the store.
    pub(super) async fn stored_blob(&self, digest: &Digest, size: u64, meter: Meter) -> Result<Arrived> {
        let content = Content::Blob(self.engine.images.clone(), digest.clone());
        self.blob(digest, size, content, meter).await
    }

    /// Sees to it that the registry has a blob.
    pub(super) async fn blob(&self, digest: &Digest, size: u64, content: Content, meter: Meter) -> Result<Arrived> {
        let mut attempts = Attempts::new(self.engine.transfers.attempts());
        loop {
            let failure = match self.attempt(digest, size, &content, &meter).await {
                Ok(arrived) => {
                    self.engine.places.add(digest, &self.reference);
                    return Ok(arrived);
                }
                Err(failure) if failure.is_transient() => failure,
                Err(failure) => return Err(failure.into()),
            };
            let Some(pause) = attempts.pause(0, failure.retry_after()) else { return Err(failure.into()) };
            tracing::info!("blob {digest}: pushing it again in {pause:?}: {failure}");
            tokio::time::sleep(pause).await;
        }
    }

    /// Whether the registry has a blob, or can have it without being sent it.
    pub(super) async fn already_there(&self, digest: &Digest) -> Result<Option<Arrived>> {
        match self.without_sending(digest).await? {
            Next::Done(arrived) => {
                self.engine.places.add(digest, &self.reference);
                Ok(Some(arrived))
            }
            Next::Upload(_) => Ok(None),
        }
    }

    async fn attempt(
        &self,
        digest: &Digest,
        size: u64,
        content: &Content,
        meter: &Meter,
    ) -> Result<Arrived, registry::Error> {
        let session = match self.without_sending(digest).await? {
            Next::Done(arrived) => return Ok(arrived),
            Next::Upload(Some(session)) => session,
            Next::Upload(None) => self.repository.start_upload().await?,
        };
        session.send(digest, size, pieces(content.clone(), size, meter.clone())).await?;
        Ok(Arrived::Sent)
    }

    async fn without_sending(&self, digest: &Digest) -> Result<Next, registry::Error> {
        if self.repository.blob_size(digest).await?.is_some() {
            return Ok(Next::Done(Arrived::Existed));
        }
        let mut session = None;
        for path in self.engine.places.elsewhere(digest, &self.reference).into_iter().take(MOUNTS) {
            match self.repository.mount_blob(digest, &path).await? {
                Mount::Mounted => return Ok(Next::Done(Arrived::Mounted(path))),
                Mount::Upload(begun) => session = Some(begun),
            }
        }
        Ok(Next::Upload(session))
    }
}

impl Content {
    fn open(&self) -> Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Blob(store, digest) => {
                let blob = store.open_blob(digest)?;
                Box::new(blob.ok_or_else(|| Error::internal(format!("blob {digest} is missing or damaged")))?)
            }
            Self::File(file) => Box::new(FromStart { file: file.clone(), at: 0 }),
        })
    }
}

/// Reads a file that others read too.
struct FromStart {
    file: Arc<File>,
    at: u64,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The bytes, read on a thread that ends when nobody takes them any more.
fn pieces(content: Content, size: u64, meter: Meter) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (queue, pieces) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let failed = read_into(&content, &queue).err();
        // A receiver that is gone needs no explanation.
        failed.map(|e| queue.blocking_send(Err(e)))
    });
    stream::unfold((pieces, meter, 0), move |(mut pieces, mut meter, sent)| async move {
        let piece: io::Result<Bytes> = pieces.recv().await?;
        let sent = sent + piece.as_ref().map_or(0, |piece| piece.len() as u64);
        meter.tell("Pushing", sent, size);
        Some((piece, (pieces, meter, sent)))
    })
}

fn read_into(content: &Content, queue: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    let mut reader = content.open().map_err(io::Error::other)?;
    loop {
        let mut piece = vec![0; PIECE];
        let length = reader.read(&mut piece)?;
        if length == 0 {
            return Ok(());
        }
        piece.truncate(length);
        if queue.blocking_send(Ok(piece.into())).is_err() {
            return Ok(());
        }
    }
}
