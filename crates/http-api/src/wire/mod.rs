//! One connection, below the routes: HTTP by hyper, and what hyper cannot do.
//!
//! ```text
//! io -> Front (a head at a time, targets made acceptable) -> hyper -> Service::call
//!         `-- head of a request that takes the connection over -> takeover -> Service::take_over
//! ```
//! hyper owns the connection between two requests of the second kind. When the head of one arrives,
//! [`front::Front`] waits until every answer before it is out, shows hyper the end of the stream, and
//! gives the connection to [`takeover`], with all bytes that were read too far.

mod body_end;
mod front;
mod hang_up;
mod head;
mod progress;
mod rewound;
mod takeover;
pub(crate) mod websocket;

pub(crate) use hang_up::HangUp;
pub use hang_up::Peer;
pub(crate) use takeover::{Answer, Switch};

use bytes::Bytes;
use front::Front;
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, future::Future};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};

/// The body of every answer.
pub(crate) type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, BodyError>;

/// What breaks off an answer; hyper only logs it and closes the connection without the final chunk.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The largest head; `X-Registry-Config` holds credentials for many registries.
const MAX_HEAD: usize = 128 * 1024;

/// What answers requests.
pub(crate) trait Service: Send + Sync + 'static {
    /// What runs on a connection that was taken over.
    type Session: Session;

    /// Whether a request of this method and path (without the query) may take the connection over.
    fn takes_over(method: &str, path: &str) -> bool;

    /// Answers a request.
    fn call(&self, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send;

    /// Answers a request for which [`Service::takes_over`] is true.
    fn take_over(&self, request: Request<Bytes>) -> impl Future<Output = Answer<Self::Session>> + Send;
}

/// A raw conversation with the client after the answer's head.
pub(crate) trait Session: Send {
    /// Talks until one side is done; `hang_up` tells of a client that is gone although nobody reads from it.
    fn run<C>(self, client: C, hang_up: HangUp) -> impl Future<Output = ()> + Send
    where
        C: AsyncRead + AsyncWrite + Unpin + Send;
}

/// Tells when the daemon stops. Every request carries one in its extensions, for answers without an end.
#[derive(Debug, Clone)]
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Ready when the daemon stops.
    pub(crate) async fn stopped(mut self) {
        if self.0.wait_for(|stop| *stop).await.is_err() {
            // Nobody is left who could say so.
            std::future::pending::<()>().await;
        }
    }
}

/// Serves one connection until it ends; after `shutdown` turns true, until the running request is answered.
pub(crate) async fn serve<IO, S>(io: IO, service: &S, shutdown: watch::Receiver<bool>)
where
    IO: Peer,
    S: Service,
{
    let stopping = Stopping(shutdown);
    let mut front = Front::new(io, S::takes_over);
    loop {
        let progress = front.progress();
        let answer = service_fn(|mut request: Request<Incoming>| {
            request.extensions_mut().insert(stopping.clone());
            let finished = progress.finish_on_drop();
            async move {
                let response = service.call(request).await;
                Ok::<_, Infallible>(response.map(|body| progress::Tracked::new(body, finished).boxed()))
            }
        });
        let mut connection = http1::Builder::new()
            .title_case_headers(true)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(front), answer);
        let result = tokio::select! {
            result = &mut connection => result,
            () = stopping.clone().stopped() => {
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                (&mut connection).await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "connection failed");
            return;
        }
        front = connection.into_parts().io.into_inner();
        if !front.is_takeover() || *stopping.0.borrow() {
            return;
        }
        match takeover::serve(front, service, &stopping).await {
            Some(next) => front = next,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests;
