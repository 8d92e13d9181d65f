//! `GET /images/{name}/get` and `GET /images/get`.

use super::platform;
use crate::{request::Call, stream, version::ApiVersion, wire::Body};
use gantry_model::{Error, Result};
use http::{HeaderValue, Response, header};
use std::sync::Arc;

pub(crate) async fn one(call: Call) -> Result<Response<Body>> {
    let names = vec![call.name().to_owned()];
    save(call, names).await
}

pub(crate) async fn many(call: Call) -> Result<Response<Body>> {
    let names = call.query.all("names");
    if names.is_empty() {
        return Err(Error::invalid("at least one image must be named"));
    }
    save(call, names).await
}

async fn save(call: Call, names: Vec<String>) -> Result<Response<Body>> {
    let platform = platform::one(&call, ApiVersion::v1(48))?;
    let engine = Arc::clone(&call.engine);
    let body = stream::download(move |out| engine.images().save(&names, platform.as_ref(), out)).await?;
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    Ok(response)
}
