//! `POST /containers/{id}/kill`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

pub(crate) async fn post(call: Call) -> Result<Response<Body>> {
    let signal = call.query.non_empty("signal");
    call.engine.container_kill(call.name(), signal.as_deref()).await?;
    Ok(respond::empty(StatusCode::NO_CONTENT))
}
