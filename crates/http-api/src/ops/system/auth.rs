//! `POST /auth`.

use crate::{request::Call, wire::Body};
use gantry_api_types::AuthConfig;
use gantry_model::{Error, Result};
use http::Response;

/// There is no registry client yet, so nobody can be asked whether the credentials are right.
pub(crate) async fn post(mut call: Call) -> Result<Response<Body>> {
    let auth: AuthConfig = call.json().await?.unwrap_or_default();
    Err(Error::not_implemented(format!(
        "login attempt to {}: this engine cannot talk to registries yet",
        auth.serveraddress
    )))
}
