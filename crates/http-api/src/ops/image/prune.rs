//! `POST /images/prune`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

use super::blocking;

pub(crate) async fn post(call: Call) -> Result<Response<Body>> {
    let filters = call.query.filters()?;
    let report = blocking(&call.engine, |engine| engine.images().prune(filters)).await?;
    Ok(respond::json(StatusCode::OK, &report))
}
