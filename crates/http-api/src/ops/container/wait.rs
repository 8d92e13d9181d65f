//! `POST /containers/{id}/wait`.

use crate::{
    request::Call,
    shape,
    stream::{endless, json_line},
    wire::Body,
};
use gantry_engine::WaitCondition;
use gantry_model::Result;
use http::{HeaderValue, Response, header};

pub(crate) async fn post(call: Call) -> Result<Response<Body>> {
    let condition = WaitCondition::parse(call.query.str("condition"))?;
    let handle = call.engine.container_wait(call.name(), condition)?;
    // The head goes out now: clients start the container when they have it.
    let version = call.version;
    let end = async move { Ok(json_line(&shape::container::wait(version, handle.result().await))) };
    let mut response = Response::new(endless(futures_util::stream::once(end), call.stopped()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
