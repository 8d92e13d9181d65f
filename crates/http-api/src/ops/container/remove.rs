//! `DELETE /containers/{id}`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

use gantry_engine::RemoveOptions;

pub(crate) async fn delete(call: Call) -> Result<Response<Body>> {
    let options =
        RemoveOptions { force: call.query.bool("force"), volumes: call.query.bool("v"), link: call.query.bool("link") };
    call.engine.container_remove(call.name(), options).await?;
    Ok(respond::empty(StatusCode::NO_CONTENT))
}
