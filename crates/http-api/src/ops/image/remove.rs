//! `DELETE /images/{name}`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

use super::{blocking, platform};
use crate::version::ApiVersion;
use gantry_engine::ImageRemoveOptions;

pub(crate) async fn delete(call: Call) -> Result<Response<Body>> {
    let name = call.name().to_owned();
    let options = ImageRemoveOptions {
        force: call.query.bool("force"),
        no_prune: call.query.bool("noprune"),
        platforms: platform::several(&call, ApiVersion::v1(50))?,
    };
    let deleted = blocking(&call.engine, move |engine| engine.images().remove(&name, &options)).await?;
    Ok(respond::json(StatusCode::OK, &deleted))
}
