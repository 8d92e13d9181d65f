//! `GET /distribution/{name}/json`.

use crate::{registry_auth, request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

pub(crate) async fn get(call: Call) -> Result<Response<Body>> {
    let auth = registry_auth::header(&call).unwrap_or_default();
    let inspect = call.engine.distribution_inspect(call.name(), &auth).await?;
    Ok(respond::json(StatusCode::OK, &inspect))
}
