//! `POST /containers/{id}/rename`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

pub(crate) async fn post(call: Call) -> Result<Response<Body>> {
    call.engine.container_rename(call.name(), call.query.str("name")).await?;
    Ok(respond::empty(StatusCode::NO_CONTENT))
}
