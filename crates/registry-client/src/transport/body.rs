//! The body of an answer, which gives its connection back when it was read to its end.

use super::{Payload, failure::Failure, pool::Pool, url::Origin};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{
    body::{Body as _, Incoming},
    client::conn::http1::SendRequest,
};
use std::{sync::Arc, time::Duration};

/// A server that sends nothing for so long has gone.
const STALL: Duration = Duration::from_secs(60);

/// What is read of a body that nobody wants, to have its connection back.
const DRAINED: usize = 64 << 10;

/// A body on its way.
#[derive(Debug)]
pub(crate) struct Body {
    incoming: Incoming,
    connection: Option<Connection>,
}

/// The connection that the body comes over.
pub(super) struct Connection {
    pub(super) pool: Arc<Pool>,
    pub(super) origin: Origin,
    pub(super) sender: SendRequest<Payload>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({})", self.origin)
    }
}

impl Body {
    pub(super) fn new(incoming: Incoming, connection: Connection) -> Self {
        let mut body = Self { incoming, connection: Some(connection) };
        if body.incoming.is_end_stream() {
            body.give_back();
        }
        body
    }

    fn give_back(&mut self) {
        if let Some(Connection { pool, origin, sender }) = self.connection.take() {
            pool.put(origin, sender);
        }
    }

    /// The next bytes; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let frame = match tokio::time::timeout(STALL, self.incoming.frame()).await {
                Err(_) => return Err(Failure::Lost("i/o timeout".to_owned())),
                Ok(None) => {
                    self.give_back();
                    return Ok(None);
                }
                Ok(Some(Err(e))) => return Err(Failure::from_hyper(&e)),
                Ok(Some(Ok(frame))) => frame,
            };
            if self.incoming.is_end_stream() {
                self.give_back();
            }
            if let Ok(data) = frame.into_data()
                && !data.is_empty()
            {
                return Ok(Some(data));
            }
        }
    }

    /// The whole body, or `None` if it is larger than `limit`.
    pub(crate) async fn collect(mut self, limit: usize) -> Result<Option<Bytes>, Failure> {
        if self.incoming.size_hint().lower() > limit as u64 {
            return Ok(None);
        }
        let Some(first) = self.next().await? else {
            return Ok(Some(Bytes::new()));
        };
        let mut whole = BytesMut::from(first);
        while let Some(more) = self.next().await? {
            if whole.len() + more.len() > limit {
                return Ok(None);
            }
            whole.extend_from_slice(&more);
        }
        Ok((whole.len() <= limit).then(|| whole.freeze()))
    }

    /// The beginning of a body, for a message.
    pub(crate) async fn beginning(mut self) -> Bytes {
        let mut begun = BytesMut::new();
        while let Ok(Some(more)) = self.next().await {
            let room = DRAINED - begun.len();
            begun.extend_from_slice(&more[..more.len().min(room)]);
            if begun.len() == DRAINED {
                break;
            }
        }
        begun.freeze()
    }
}
