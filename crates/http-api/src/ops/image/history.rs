//! `GET /images/{name}/history`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

use super::blocking;

pub(crate) async fn get(call: Call) -> Result<Response<Body>> {
    let name = call.name().to_owned();
    let history = blocking(&call.engine, move |engine| engine.images().history(&name)).await?;
    Ok(respond::json(StatusCode::OK, &history))
}
