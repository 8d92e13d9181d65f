//! `GET` and `HEAD /_ping`, and `OPTIONS` of anything.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{HeaderValue, Response, StatusCode, header};

pub(crate) async fn get(_call: Call) -> Result<Response<Body>> {
    Ok(with_headers(respond::text(StatusCode::OK, "OK")))
}

pub(crate) async fn head(_call: Call) -> Result<Response<Body>> {
    let mut response = with_headers(respond::text(StatusCode::OK, ""));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    Ok(response)
}

/// Docker answers `OPTIONS` on every path.
pub(crate) async fn options(_call: Call) -> Result<Response<Body>> {
    Ok(respond::empty(StatusCode::OK))
}

fn with_headers(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    // Version 2 would promise BuildKit.
    headers.insert("builder-version", HeaderValue::from_static("1"));
    headers.insert("swarm", HeaderValue::from_static("inactive"));
    response
}
