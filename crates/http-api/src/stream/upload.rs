//! A request's body for code that reads blockingly.
//!
//! Clients send bodies in pieces of a few kilobytes. Waking the reading thread for each costs more than all that is
//! done with the bytes, so pieces are collected: the reader is woken for many of them, and the connection is read again
//! when most of them are gone.

use crate::request::RequestBody;
use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::{
    collections::VecDeque,
    io::{self, Read},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, task::JoinSet};

/// Bytes that may wait for the reader.
const MOST: usize = 1 << 20;
/// Bytes that are worth waking the reader for, and as few as let the connection be read again.
const BATCH: usize = 256 << 10;
/// What a piece costs beside its bytes: a client may send them one by one.
const PIECE: usize = 64;
/// How long fewer bytes wait for more.
const PATIENCE: Duration = Duration::from_millis(5);

/// What travels to the reading thread.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    /// The reader has something to do.
    readable: Condvar,
    /// The feeder has.
    writable: Notify,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Bytes>,
    bytes: usize,
    end: Option<End>,
    reader_is_gone: bool,
}

enum End {
    /// The body was complete.
    Complete,
    Failed(io::Error),
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, end: End) {
        self.lock().end.get_or_insert(end);
        self.readable.notify_one();
    }
}

/// Reads a request's body. Stops the task that feeds it when dropped.
pub(crate) struct Upload {
    queue: Arc<Queue>,
    /// What was taken from the queue.
    taken: VecDeque<Bytes>,
    ended: bool,
}

/// Feeds an [`Upload`]; dropping it makes the reader fail.
pub(crate) struct Feeding(#[expect(dead_code, reason = "held for its drop, which aborts the task")] JoinSet<()>);

/// The feeding side of a queue. One that goes without having seen the body's end was aborted: the client went away.
struct Feeder(Arc<Queue>);

impl Drop for Feeder {
    fn drop(&mut self) {
        self.0.end(End::Failed(io::Error::new(io::ErrorKind::ConnectionAborted, "the client went away")));
    }
}

impl Upload {
    /// Begins to read `body`.
    pub(crate) fn new(body: RequestBody) -> (Self, Feeding) {
        let queue = Arc::<Queue>::default();
        let feeder = Feeder(Arc::clone(&queue));
        let mut task = JoinSet::new();
        task.spawn(feeder.feed(body));
        (Self { queue, taken: VecDeque::new(), ended: false }, Feeding(task))
    }
}

impl Feeder {
    async fn feed(self, body: RequestBody) {
        match body {
            RequestBody::Incoming(incoming) => self.feed_incoming(incoming).await,
            RequestBody::Whole(bytes) => {
                self.push(bytes);
                self.0.end(End::Complete);
            }
        }
    }

    async fn feed_incoming(self, mut incoming: Incoming) {
        let mut unannounced = 0;
        loop {
            let frame = if unannounced == 0 {
                incoming.frame().await
            } else if let Ok(frame) = tokio::time::timeout(PATIENCE, incoming.frame()).await {
                frame
            } else {
                unannounced = 0;
                self.0.readable.notify_one();
                continue;
            };
            let data = match frame {
                None => return self.0.end(End::Complete),
                Some(Err(e)) => return self.0.end(End::Failed(io::Error::new(io::ErrorKind::ConnectionAborted, e))),
                Some(Ok(frame)) => frame.into_data(),
            };
            // Trailers say nothing here.
            let Some(data) = data.ok().filter(|data| !data.is_empty()) else { continue };
            unannounced += data.len();
            let waiting = self.push(data);
            if unannounced >= BATCH {
                unannounced = 0;
                self.0.readable.notify_one();
            }
            if waiting >= MOST && !self.drained().await {
                return;
            }
        }
    }

    /// Queues a piece; returns how many bytes wait.
    fn push(&self, data: Bytes) -> usize {
        let mut state = self.0.lock();
        state.bytes += data.len() + PIECE;
        state.pieces.push_back(data);
        state.bytes
    }

    /// Waits until the reader wants more; false when it never will.
    async fn drained(&self) -> bool {
        loop {
            let woken = self.0.writable.notified();
            {
                let state = self.0.lock();
                if state.reader_is_gone {
                    return false;
                }
                if state.bytes < BATCH {
                    return true;
                }
            }
            woken.await;
        }
    }
}

impl Upload {
    /// Waits for pieces and takes as many as there are, up to a batch; what stays keeps the reader busy while the
    /// connection is read again.
    fn take(&mut self) -> io::Result<()> {
        let mut state = self.queue.lock();
        while state.pieces.is_empty() && state.end.is_none() {
            state = self.queue.readable.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let mut taken = 0;
        while taken < BATCH
            && let Some(piece) = state.pieces.pop_front()
        {
            taken += piece.len() + PIECE;
            self.taken.push_back(piece);
        }
        let before = state.bytes;
        state.bytes -= taken;
        if before >= BATCH && state.bytes < BATCH {
            self.queue.writable.notify_one();
        }
        if taken > 0 {
            return Ok(());
        }
        self.ended = true;
        match state.end.replace(End::Complete) {
            Some(End::Failed(e)) => Err(e),
            Some(End::Complete) | None => Ok(()),
        }
    }
}

impl Read for Upload {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.taken.is_empty() && !self.ended {
            self.take()?;
        }
        let mut length = 0;
        while length < buf.len()
            && let Some(piece) = self.taken.front_mut()
        {
            let part = piece.len().min(buf.len() - length);
            buf[length..length + part].copy_from_slice(&piece[..part]);
            length += part;
            piece.advance(part);
            if piece.is_empty() {
                self.taken.pop_front();
            }
        }
        Ok(length)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.queue.lock().reader_is_gone = true;
        self.queue.writable.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(mut upload: Upload) -> io::Result<String> {
        let read = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            upload.read_to_string(&mut text).map(|_| text)
        });
        read.await.unwrap()
    }

    #[tokio::test]
    async fn a_whole_body_reads_to_its_end() {
        let (upload, _feeding) = Upload::new(RequestBody::Whole(Bytes::from_static(b"hello")));
        assert_eq!(read(upload).await.unwrap(), "hello");
        let (upload, _feeding) = Upload::new(RequestBody::Whole(Bytes::new()));
        assert_eq!(read(upload).await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_feeder_that_stops_is_no_end() {
        let queue = Arc::<Queue>::default();
        let feeder = Feeder(Arc::clone(&queue));
        feeder.push(Bytes::from_static(b"he"));
        drop(feeder);
        let upload = Upload { queue, taken: VecDeque::new(), ended: false };
        assert_eq!(read(upload).await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn the_feeder_waits_for_the_reader_and_notices_its_end() {
        let queue = Arc::<Queue>::default();
        let feeder = Feeder(Arc::clone(&queue));
        let mut upload = Upload { queue, taken: VecDeque::new(), ended: false };
        while feeder.push(Bytes::from(vec![7; 100_000])) < MOST {}
        let reader = tokio::task::spawn_blocking(move || {
            let mut some = vec![0; MOST - BATCH / 2];
            upload.read_exact(&mut some).map(|()| upload)
        });
        assert!(feeder.drained().await);
        let upload = reader.await.unwrap().unwrap();
        while feeder.push(Bytes::from(vec![7; 100_000])) < MOST {}
        drop(upload);
        assert!(!feeder.drained().await);
    }
}
