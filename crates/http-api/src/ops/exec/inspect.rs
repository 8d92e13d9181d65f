//! `GET /exec/{id}/json`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

pub(crate) async fn get(call: Call) -> Result<Response<Body>> {
    let inspect = call.engine.exec_inspect(call.name()).await?;
    Ok(respond::json(StatusCode::OK, &inspect))
}
