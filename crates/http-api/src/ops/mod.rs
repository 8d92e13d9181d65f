//! The operations, a file each or a small family.

pub(crate) mod build;
pub(crate) mod commit;
pub(crate) mod container;
pub(crate) mod distribution;
pub(crate) mod exec;
pub(crate) mod image;
pub(crate) mod network;
pub(crate) mod swarm;
pub(crate) mod system;
pub(crate) mod volume;

use crate::wire::{HangUp, Session, websocket};
use crate::{request::Call, wire::Answer};
use container::ws::WebSocket;
use gantry_engine::AttachSession;
use gantry_model::Result;
use http::Method;
use std::{future::Future, pin::Pin};
use tokio::io::{AsyncRead, AsyncWrite};

/// What a connection is used for after it was taken over.
#[derive(Debug)]
pub(crate) enum Conversation {
    /// Raw bytes.
    Stream(Box<AttachSession>),
    /// Messages.
    WebSocket(Box<WebSocket>),
}

impl Session for Conversation {
    async fn run<C>(self, client: C, hang_up: HangUp)
    where
        C: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let outcome = match self {
            Self::Stream(session) => session.run(client, hang_up.happened()).await,
            Self::WebSocket(socket) => {
                let WebSocket { session, messages } = *socket;
                websocket::run(client, messages, |stream| async {
                    if let Err(error) = session.run(stream, std::future::pending()).await {
                        tracing::debug!(%error, "attached stream broke off");
                    }
                })
                .await;
                Ok(())
            }
        };
        if let Err(error) = outcome {
            // The head is out; the client sees the end of the stream.
            tracing::debug!(%error, "attached stream broke off");
        }
    }
}

/// What a handler gives that may take the connection over.
type TakeoverOutcome = Pin<Box<dyn Future<Output = Result<Answer<Conversation>>> + Send>>;

/// A handler that may take the connection over.
type Takeover = fn(Call) -> TakeoverOutcome;

/// Operations that may take the connection over.
pub(crate) static TAKEOVERS: &[(Method, &str, Takeover)] = &[
    (Method::POST, "/containers/{*}/attach", |call| Box::pin(container::attach::post(call))),
    (Method::GET, "/containers/{*}/attach/ws", |call| Box::pin(container::ws::get(call))),
    (Method::POST, "/exec/{}/start", |call| Box::pin(exec::start::post(call))),
];

/// The type of a stream without frames.
const RAW_STREAM: &str = "application/vnd.docker.raw-stream";
/// The type of a stream with frames, as clients since API 1.42 know it.
const MULTIPLEXED_STREAM: &str = "application/vnd.docker.multiplexed-stream";
