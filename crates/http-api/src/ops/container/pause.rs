//! `POST /containers/{id}/pause` and `/unpause`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

pub(crate) async fn pause(call: Call) -> Result<Response<Body>> {
    call.engine.container_pause(call.name()).await?;
    Ok(respond::empty(StatusCode::NO_CONTENT))
}

pub(crate) async fn unpause(call: Call) -> Result<Response<Body>> {
    call.engine.container_unpause(call.name()).await?;
    Ok(respond::empty(StatusCode::NO_CONTENT))
}
