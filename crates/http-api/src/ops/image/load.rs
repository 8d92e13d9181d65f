//! `POST /images/load`.

use super::platform;
use crate::{request::Call, stream, version::ApiVersion, wire::Body};
use gantry_model::Result;
use http::Response;
use std::sync::Arc;

pub(crate) async fn post(mut call: Call) -> Result<Response<Body>> {
    // Without `quiet`, each layer's progress is reported too.
    let quiet = call.query.bool_or("quiet", true);
    let platform = platform::one(&call, ApiVersion::v1(48))?;
    let engine = Arc::clone(&call.engine);
    stream::operation(call.take_body(), move |mut upload, sink| {
        engine.images().load(&mut upload, platform.as_ref(), quiet, &mut |message| sink.send(&message))
    })
    .await
}
