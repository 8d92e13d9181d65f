//! `POST /containers/{id}/attach`.

use crate::{
    ops::{Conversation, MULTIPLEXED_STREAM, RAW_STREAM},
    request::Call,
    version::ApiVersion,
    wire::{Answer, Switch},
};
use gantry_engine::{AttachOptions, AttachSession};
use gantry_model::Result;
use http::{HeaderMap, header};

pub(crate) async fn post(call: Call) -> Result<Answer<Conversation>> {
    let session = open(&call).await?;
    Ok(take(&call, session, HeaderMap::new()))
}

/// Opens the attachment that the query asks for, however its bytes travel.
pub(super) async fn open(call: &Call) -> Result<AttachSession> {
    let options = AttachOptions {
        stdin: call.query.bool("stdin"),
        stdout: call.query.bool("stdout"),
        stderr: call.query.bool("stderr"),
        stream: call.query.bool("stream"),
        logs: call.query.bool("logs"),
        detach_keys: call.query.non_empty("detachKeys"),
    };
    call.engine.container_attach(call.name(), options).await
}

/// Takes the connection over in the way that the client asked for.
pub(crate) fn take(call: &Call, session: AttachSession, headers: HeaderMap) -> Answer<Conversation> {
    let upgrade = call.headers.contains_key(header::UPGRADE);
    let framed = upgrade && !session.is_tty() && call.version >= ApiVersion::v1(42);
    let content_type = if framed { MULTIPLEXED_STREAM } else { RAW_STREAM };
    let switch = if upgrade { Switch::Upgrade { content_type } } else { Switch::Raw { content_type } };
    Answer::Take { switch, headers, session: Conversation::Stream(Box::new(session)) }
}
