//! `GET /containers/{id}/top`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

pub(crate) async fn get(call: Call) -> Result<Response<Body>> {
    let top = call.engine.container_top(call.name(), call.query.non_empty("ps_args").as_deref()).await?;
    Ok(respond::json(StatusCode::OK, &top))
}
