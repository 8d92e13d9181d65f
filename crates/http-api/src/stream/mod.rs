//! Bodies that are not there whole: answers that grow, uploads and downloads that blocking code reads
//! and writes.

mod download;
mod progress;
mod reported;
mod upload;

pub(crate) use download::download;
pub(crate) use progress::{ProgressSink, operation};
pub(crate) use reported::reported;
pub(crate) use upload::Upload;

use crate::wire::{Body, BodyError};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde::Serialize;
use std::future::Future;

/// How many pieces may wait between a blocking thread and the connection.
const QUEUE: usize = 8;

/// A body of `pieces`.
pub(crate) fn body<S>(pieces: S) -> Body
where
    S: Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
{
    StreamBody::new(pieces.map_ok(Frame::data)).boxed_unsync()
}

/// A body of `pieces` that has no end of its own: it ends when `stopped` is ready.
pub(crate) fn endless<S>(pieces: S, stopped: impl Future<Output = ()> + Send + 'static) -> Body
where
    S: Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
{
    body(pieces.take_until(Box::pin(stopped)))
}

/// A JSON value with the line feed that ends it in a stream.
pub(crate) fn json_line<T: Serialize>(value: &T) -> Bytes {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line.into()
}
