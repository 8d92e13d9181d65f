//! `POST /containers/prune`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

pub(crate) async fn post(call: Call) -> Result<Response<Body>> {
    let report = call.engine.container_prune(call.query.filters()?).await?;
    Ok(respond::json(StatusCode::OK, &report))
}
