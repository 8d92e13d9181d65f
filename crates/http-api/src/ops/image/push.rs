//! `POST /images/{name}/push`.

use super::platform;
use crate::{registry_auth, request::Call, stream, version::ApiVersion, wire::Body};
use gantry_engine::ImagePush;
use gantry_model::{Error, Result};
use http::Response;

pub(crate) async fn post(mut call: Call) -> Result<Response<Body>> {
    let platform = platform::one(&call, ApiVersion::v1(46))?;
    let auth = match registry_auth::header(&call) {
        Some(auth) => auth,
        None => registry_auth::body(&mut call)
            .await
            .map_err(|e| Error::invalid(format!("Bad parameters and missing X-Registry-Auth: {e}")))?,
    };
    let push = ImagePush { image: call.name().to_owned(), tag: call.query.str("tag").to_owned(), auth, platform };
    stream::reported(call.engine.image_push(&push)?, call.stopped()).await
}
