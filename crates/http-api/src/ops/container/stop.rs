//! `POST /containers/{id}/stop` and `/restart`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

use crate::version::ApiVersion;
use gantry_engine::StopOptions;

fn options(call: &Call) -> Result<StopOptions> {
    let signal = call.query.non_empty("signal").filter(|_| call.version >= ApiVersion::v1(42));
    Ok(StopOptions { signal, timeout: call.query.int("t")? })
}

pub(crate) async fn post(call: Call) -> Result<Response<Body>> {
    call.engine.container_stop(call.name(), options(&call)?).await?;
    Ok(respond::empty(StatusCode::NO_CONTENT))
}

pub(crate) async fn restart(call: Call) -> Result<Response<Body>> {
    call.engine.container_restart(call.name(), options(&call)?).await?;
    Ok(respond::empty(StatusCode::NO_CONTENT))
}
