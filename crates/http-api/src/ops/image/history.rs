//! `GET /images/{name}/history`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

use super::{blocking, platform};
use crate::version::ApiVersion;

pub(crate) async fn get(call: Call) -> Result<Response<Body>> {
    let name = call.name().to_owned();
    let wanted = platform::one(&call, ApiVersion::v1(48))?;
    let history = blocking(&call.engine, move |engine| engine.images().history(&name, wanted.as_ref())).await?;
    Ok(respond::json(StatusCode::OK, &history))
}
