//! `POST /containers/{id}/resize`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

pub(crate) async fn post(call: Call) -> Result<Response<Body>> {
    let (rows, columns) = call.query.terminal_size()?;
    call.engine.container_resize(call.name(), rows, columns).await?;
    Ok(respond::empty(StatusCode::OK))
}
