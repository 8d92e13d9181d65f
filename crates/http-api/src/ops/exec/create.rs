//! `POST /containers/{id}/exec`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

use gantry_api_types::ExecCreateRequest;

pub(crate) async fn post(mut call: Call) -> Result<Response<Body>> {
    let request: ExecCreateRequest = call.json().await?.unwrap_or_default();
    let created = call.engine.exec_create(call.name(), request).await?;
    Ok(respond::json(StatusCode::CREATED, &created))
}
