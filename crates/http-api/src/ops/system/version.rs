//! `GET /version`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

pub(crate) async fn get(call: Call) -> Result<Response<Body>> {
    Ok(respond::json(StatusCode::OK, &call.engine.version()))
}
