//! `GET /images/{name}/json`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

use super::{blocking, platform};
use crate::{shape, version::ApiVersion};
use gantry_engine::ImageInspectOptions;

pub(crate) async fn get(call: Call) -> Result<Response<Body>> {
    let name = call.name().to_owned();
    let options = ImageInspectOptions {
        platform: platform::one(&call, ApiVersion::v1(49))?,
        manifests: call.version >= ApiVersion::v1(48) && call.query.bool("manifests"),
    };
    let inspect = blocking(&call.engine, move |engine| engine.images().inspect(&name, &options)).await?;
    Ok(respond::json(StatusCode::OK, &shape::image::inspect(call.version, &inspect)))
}
