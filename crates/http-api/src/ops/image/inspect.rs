//! `GET /images/{name}/json`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

use super::blocking;
use crate::shape;

pub(crate) async fn get(call: Call) -> Result<Response<Body>> {
    let name = call.name().to_owned();
    let inspect = blocking(&call.engine, move |engine| engine.images().inspect(&name)).await?;
    Ok(respond::json(StatusCode::OK, &shape::image::inspect(call.version, &inspect)))
}
