//! `GET /containers/json`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

use crate::shape;
use gantry_engine::ListOptions;

pub(crate) async fn get(call: Call) -> Result<Response<Body>> {
    let options = ListOptions {
        all: call.query.bool("all"),
        limit: call.query.int("limit")?,
        size: call.query.bool("size"),
        filters: call.query.filters()?,
    };
    let list = call.engine.container_list(options).await?;
    Ok(respond::json(StatusCode::OK, &shape::container::summaries(call.version, &list)))
}
