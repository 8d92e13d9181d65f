//! `DELETE /images/{name}`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

use super::blocking;

pub(crate) async fn delete(call: Call) -> Result<Response<Body>> {
    let name = call.name().to_owned();
    let (force, no_prune) = (call.query.bool("force"), call.query.bool("noprune"));
    let deleted = blocking(&call.engine, move |engine| engine.images().remove(&name, force, no_prune)).await?;
    Ok(respond::json(StatusCode::OK, &deleted))
}
