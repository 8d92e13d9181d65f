//! `GET /containers/{id}/json`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

use crate::shape;

pub(crate) async fn get(call: Call) -> Result<Response<Body>> {
    let inspect = call.engine.container_inspect(call.name(), call.query.bool("size")).await?;
    Ok(respond::json(StatusCode::OK, &shape::container::inspect(call.version, &inspect)))
}
