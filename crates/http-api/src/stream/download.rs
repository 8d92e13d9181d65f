//! An answer that blocking code writes.

use super::{QUEUE, body};
use crate::wire::{Body, BodyError};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use gantry_model::{Error, Result};
use std::io::{self, Write};
use tokio::sync::mpsc;

/// The size of the pieces that are sent.
const PIECE: usize = 128 * 1024;

type Piece = Result<Bytes, BodyError>;

/// Collects what is written into pieces and queues them for the connection; waits when it is slow,
/// fails when the client is gone.
struct Pieces {
    queue: mpsc::Sender<Piece>,
    current: BytesMut,
}

impl Pieces {
    fn send(&mut self) -> io::Result<()> {
        if self.current.is_empty() {
            return Ok(());
        }
        let piece = self.current.split().freeze();
        self.queue
            .blocking_send(Ok(piece))
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the client went away"))
    }
}

impl Write for Pieces {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.current.capacity() == 0 {
            self.current.reserve(PIECE);
        }
        self.current.extend_from_slice(buf);
        if self.current.len() >= PIECE {
            self.send()?;
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

/// Runs `write` on a blocking thread. What fails before the first piece is an ordinary error; what
/// fails later breaks the answer off, which the client sees as a missing end.
pub(crate) async fn download<F>(write: F) -> Result<Body>
where
    F: FnOnce(&mut dyn Write) -> Result<()> + Send + 'static,
{
    let (queue, mut pieces) = mpsc::channel::<Piece>(QUEUE);
    let task = tokio::task::spawn_blocking(move || -> Result<()> {
        let mut writer = Pieces { queue, current: BytesMut::new() };
        write(&mut writer)?;
        // A client that is gone misses nothing.
        let _ = writer.flush();
        Ok(())
    });
    let first = pieces.recv().await;
    let Some(first) = first else {
        // Nothing was written: the task is over.
        task.await.map_err(|e| Error::internal(format!("writing the answer: {e}")))??;
        return Ok(crate::respond::full(Bytes::new()));
    };
    let rest = stream::poll_fn(move |cx| pieces.poll_recv(cx));
    let end = stream::once(async move {
        match task.await {
            Ok(Ok(())) => Ok(Bytes::new()),
            Ok(Err(e)) => Err(e.into()),
            Err(e) => Err(e.into()),
        }
    });
    Ok(body(stream::iter([first]).chain(rest).chain(end)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn everything_arrives() {
        let body = download(|w| {
            for _ in 0..10 {
                w.write_all(&vec![7; 100_000])?;
            }
            Ok(())
        });
        assert_eq!(body.await.unwrap().collect().await.unwrap().to_bytes().len(), 1_000_000);
    }

    #[tokio::test]
    async fn early_failures_are_errors_and_late_ones_break_off() {
        let early = download(|_| Err(Error::not_found("No such image"))).await;
        assert_eq!(early.err().unwrap().to_string(), "No such image");
        let late = download(|w| {
            w.write_all(&vec![0; PIECE])?;
            Err(Error::internal("disk"))
        });
        assert!(late.await.unwrap().collect().await.is_err());
    }

    #[tokio::test]
    async fn the_writer_fails_when_the_client_is_gone() {
        let (told, outcome) = tokio::sync::oneshot::channel();
        let body = download(move |w| {
            let result = (0..).try_for_each(|_: u64| w.write_all(&vec![0; PIECE]));
            told.send(result.map_err(|e| e.kind())).ok();
            Ok(())
        })
        .await
        .unwrap();
        drop(body);
        assert_eq!(outcome.await.unwrap(), Err(io::ErrorKind::BrokenPipe));
    }
}
