//! Counts requests that were handed to hyper and answers that are finished, so that the front knows
//! when nothing is under way.

use super::{Body, BodyError};
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

/// Shared between the front of a connection and its answers.
#[derive(Debug, Default)]
pub(super) struct Progress {
    begun: AtomicUsize,
    finished: AtomicUsize,
    waiting: AtomicWaker,
}

impl Progress {
    /// A request's head was handed on.
    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Release);
    }

    /// Ready when every request that began has been answered.
    pub(super) fn poll_idle(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.waiting.register(cx.waker());
        if self.begun.load(Ordering::Acquire) == self.finished.load(Ordering::Acquire) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// A guard whose drop finishes one request.
    pub(super) fn finish_on_drop(self: &Arc<Self>) -> Finished {
        Finished(Arc::clone(self))
    }
}

/// Finishes one request when dropped.
#[derive(Debug)]
pub(super) struct Finished(Arc<Progress>);

impl Drop for Finished {
    fn drop(&mut self) {
        self.0.finished.fetch_add(1, Ordering::Release);
        self.0.waiting.wake();
    }
}

/// A body that finishes its request when hyper lets go of it.
pub(super) struct Tracked {
    body: Body,
    _finished: Finished,
}

impl Tracked {
    pub(super) fn new(body: Body, finished: Finished) -> Self {
        Self { body, _finished: finished }
    }

    pub(super) fn boxed(self) -> Body {
        self.boxed_unsync()
    }
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
