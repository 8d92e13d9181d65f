//! `POST /exec/{id}/start`.

use crate::{
    ops::{Conversation, container::attach::take},
    request::Call,
    respond, server,
    version::ApiVersion,
    wire::Answer,
};
use gantry_api_types::ExecStartRequest;
use gantry_engine::ExecStarted;
use gantry_model::Result;
use http::StatusCode;

pub(crate) async fn post(mut call: Call) -> Result<Answer<Conversation>> {
    let mut request: ExecStartRequest = call.json().await?.unwrap_or_default();
    request.console_size = request.console_size.filter(|_| call.version >= ApiVersion::v1(42));
    match call.engine.exec_start(call.name(), request).await? {
        ExecStarted::Detached => Ok(Answer::Respond(respond::empty(StatusCode::OK))),
        ExecStarted::Attached(session) => Ok(take(&call, *session, server::identity(call.engine.is_experimental()))),
    }
}
