//! `POST /containers/{id}/exec`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

use crate::version::ApiVersion;
use gantry_api_types::ExecCreateRequest;

pub(crate) async fn post(mut call: Call) -> Result<Response<Body>> {
    let mut request: ExecCreateRequest = call.json().await?.unwrap_or_default();
    request.console_size = request.console_size.filter(|_| call.version >= ApiVersion::v1(42));
    let created = call.engine.exec_create(call.name(), request).await?;
    Ok(respond::json(StatusCode::CREATED, &created))
}
