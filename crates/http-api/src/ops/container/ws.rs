//! `GET /containers/{id}/attach/ws`: attach over a WebSocket.

use crate::{
    ops::Conversation,
    request::Call,
    version::ApiVersion,
    wire::{Answer, Switch, websocket},
};
use gantry_engine::AttachSession;
use gantry_model::Result;
use http::HeaderMap;

/// An attachment whose bytes travel in messages.
#[derive(Debug)]
pub(crate) struct WebSocket {
    pub(crate) session: AttachSession,
    pub(crate) messages: websocket::Messages,
}

pub(crate) async fn get(call: Call) -> Result<Answer<Conversation>> {
    let accept = websocket::accept(&call.headers)?;
    let session = super::attach::open(&call).await?;
    let messages = websocket::Messages { text: call.version < ApiVersion::v1(28), framed: !session.is_tty() };
    let session = Conversation::WebSocket(Box::new(WebSocket { session, messages }));
    Ok(Answer::Take { switch: Switch::WebSocket { accept }, headers: HeaderMap::new(), session })
}
