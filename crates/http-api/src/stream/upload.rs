//! A request's body for code that reads blockingly.

use super::QUEUE;
use crate::request::RequestBody;
use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use std::io::{self, Read};
use tokio::{sync::mpsc, task::JoinSet};

/// What travels to the reading thread.
enum Piece {
    Data(Bytes),
    /// The body was complete. A queue that closes without it is a client that went away.
    End,
    Failed(io::Error),
}

/// Reads a request's body. Stops the task that feeds it when dropped.
pub(crate) struct Upload {
    pieces: mpsc::Receiver<Piece>,
    current: Bytes,
    ended: bool,
}

/// Feeds an [`Upload`]; dropping it makes the reader fail.
pub(crate) struct Feeding(#[expect(dead_code, reason = "held for its drop, which aborts the task")] JoinSet<()>);

impl Upload {
    /// Begins to read `body`.
    pub(crate) fn new(body: RequestBody) -> (Self, Feeding) {
        let (sender, pieces) = mpsc::channel(QUEUE);
        let mut task = JoinSet::new();
        task.spawn(feed(body, sender));
        (Self { pieces, current: Bytes::new(), ended: false }, Feeding(task))
    }
}

async fn feed(body: RequestBody, sender: mpsc::Sender<Piece>) {
    let mut incoming = match body {
        RequestBody::Incoming(incoming) => incoming,
        RequestBody::Whole(bytes) => {
            // A reader that is gone needs nothing.
            let _ = sender.send(Piece::Data(bytes)).await;
            let _ = sender.send(Piece::End).await;
            return;
        }
    };
    loop {
        let piece = match incoming.frame().await {
            None => Piece::End,
            Some(Err(e)) => Piece::Failed(io::Error::new(io::ErrorKind::ConnectionAborted, e)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if !data.is_empty() => Piece::Data(data),
                // Trailers say nothing here.
                _ => continue,
            },
        };
        let last = !matches!(piece, Piece::Data(_));
        if sender.send(piece).await.is_err() || last {
            return;
        }
    }
}

impl Read for Upload {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            if self.ended {
                return Ok(0);
            }
            match self.pieces.blocking_recv() {
                Some(Piece::Data(data)) => self.current = data,
                Some(Piece::End) => self.ended = true,
                Some(Piece::Failed(e)) => return Err(e),
                None => return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the client went away")),
            }
        }
        let length = self.current.len().min(buf.len());
        buf[..length].copy_from_slice(&self.current[..length]);
        self.current.advance(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_whole_body_reads_to_its_end() {
        let (mut upload, _feeding) = Upload::new(RequestBody::Whole(Bytes::from_static(b"hello")));
        let read = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            upload.read_to_string(&mut text).map(|_| text)
        });
        assert_eq!(read.await.unwrap().unwrap(), "hello");
    }

    #[tokio::test]
    async fn a_feeder_that_stops_is_no_end() {
        let (sender, pieces) = mpsc::channel(1);
        let mut upload = Upload { pieces, current: Bytes::new(), ended: false };
        sender.send(Piece::Data(Bytes::from_static(b"he"))).await.unwrap();
        drop(sender);
        let read = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            upload.read_to_string(&mut text)
        });
        assert_eq!(read.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}
