//! `POST /containers/{id}/start`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

use gantry_model::Error;

/// Bodies up to this length are what clients send for "nothing" (`null`, `{}`).
const EMPTY_BODY: usize = 7;

pub(crate) async fn post(mut call: Call) -> Result<Response<Body>> {
    if call.whole_body().await?.len() > EMPTY_BODY {
        return Err(Error::invalid(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
        ));
    }
    call.engine.container_start(call.name()).await?;
    Ok(respond::empty(StatusCode::NO_CONTENT))
}
