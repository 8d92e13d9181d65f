//! `POST /containers/{id}/update`.

use crate::{request::Call, respond, version::ApiVersion, wire::Body};
use gantry_api_types::ContainerUpdateRequest;
use gantry_model::Result;
use http::{Response, StatusCode};

pub(crate) async fn post(mut call: Call) -> Result<Response<Body>> {
    let mut request: ContainerUpdateRequest = call.json().await?.unwrap_or_default();
    if call.version < ApiVersion::v1(40) {
        // Could not be changed before.
        request.pids_limit = None;
    }
    if call.version >= ApiVersion::v1(42) {
        request.kernel_memory = 0;
    }
    let updated = call.engine.container_update(call.name(), request).await?;
    Ok(respond::json(StatusCode::OK, &updated))
}
