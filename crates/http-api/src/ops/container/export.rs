//! `GET /containers/{id}/export`.

use crate::{request::Call, stream, wire::Body};
use gantry_model::Result;
use http::{HeaderValue, Response, header};
use std::sync::Arc;

pub(crate) async fn get(call: Call) -> Result<Response<Body>> {
    let engine = Arc::clone(&call.engine);
    let name = call.name().to_owned();
    let export = super::blocking(move || engine.container_export(&name)).await?;
    let engine = Arc::clone(&call.engine);
    let mut response = Response::new(stream::download(move |out| engine.write_export(&export, out)).await?);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(response)
}
