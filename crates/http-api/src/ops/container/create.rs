//! `POST /containers/create`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

use crate::{errors::bad_json, shape, version::ApiVersion};
use gantry_api_types::ContainerCreateRequest;

pub(crate) async fn post(mut call: Call) -> Result<Response<Body>> {
    let body = call.json_bytes().await?;
    let mut request = ContainerCreateRequest::from_json(&body).map_err(|e| bad_json(&e))?;
    shape::create::check(call.version, &request)?;
    shape::create::adapt(call.version, &mut request);
    let name = call.query.non_empty("name");
    let platform = call.query.non_empty("platform").filter(|_| call.version >= ApiVersion::v1(41));
    let created = call.engine.container_create(name, request, platform).await?;
    Ok(respond::json(StatusCode::CREATED, &created))
}
