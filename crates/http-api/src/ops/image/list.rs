//! `GET /images/json`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

use super::blocking;
use crate::{shape, version::ApiVersion};
use gantry_engine::ImageListOptions;

pub(crate) async fn get(call: Call) -> Result<Response<Body>> {
    let mut filters = call.query.filters()?;
    if call.version < ApiVersion::v1(41)
        && let Some(reference) = call.query.non_empty("filter")
    {
        filters.0.entry("reference".into()).or_default().insert(reference);
    }
    let options = ImageListOptions {
        all: call.query.bool("all"),
        shared_size: call.version >= ApiVersion::v1(42) && call.query.bool("shared-size"),
        containers: false,
        manifests: call.version >= ApiVersion::v1(47) && call.query.bool("manifests"),
        filters,
    };
    let list = blocking(&call.engine, |engine| engine.images().list(options)).await?;
    Ok(respond::json(StatusCode::OK, &shape::image::summaries(call.version, &list)))
}
